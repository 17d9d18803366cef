"""The warm fork server: one interpreter with the usual modules loaded, whose forks lock themselves up and run code.

Its parent sends, over one socket, what a run may use and the descriptors of its pipes. What the run is about (code,
inputs, tests) goes from the parent to the child alone: the server never reads it, so that no run can find in its memory
what another was given. A child's socket `status` says when it ended; closing it, or writing to it, ends the child. When
the parent is gone, the server and all its children are too.

Started as `python -c "from herd.sandbox.forkserver import serve_forks; serve_forks(...)"` without an environment.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

from herd.sandbox import jobs, namespaces, scratch, walls
from herd.sandbox.wire import pack_ending, pack_fault

_MESSAGE_BYTES, _EXTRA_BYTES = 1 << 16, socket.CMSG_SPACE(4 * 16)
_KNOWN_JOBS = 64
_POLL_SECONDS = 0.02
_PR_SET_CHILD_SUBREAPER = 36
# Users that no system gives to anybody: Debian policy 9.2.2 and systemd's UIDS-GIDS leave these free.
_USERS = range(65520, 65533)


@dataclass(slots=True)
class _Slot:
    """Where one run at a time takes place. cell: for programs in Python; others: for those in other languages. size:
    bytes and files of its folder, where that is there and nobody has used it. unused: how such a folder looks."""

    folder: str
    user: int | None
    cell: jobs.JobCell
    foreign: jobs.JobCell
    size: tuple[int, int] | None = None
    unused: tuple[int, ...] = ()


@dataclass(slots=True)
class _Run:
    """A child. cause: why it was ended. waited: seconds that it had waited for a core by then. stopped: it was there
    when its parent told it to end."""

    pid: int
    status: int
    pidfd: int
    slot: _Slot
    job: dict[str, Any]
    cause: str = ""
    waited: float = 0.0
    stopped: bool = False


@dataclass
class _Slots:
    """The places of runs. config: see `serve_forks`. retained: those whose folders outlive their run, by name. free:
    those that wait for a run. made: how many there are."""

    config: dict[str, Any]
    landlock: int
    own_root: bool = False
    filters: walls.ProfileFilters | None = None
    retained: dict[str, _Slot] = field(default_factory=dict)
    free: list[_Slot] = field(default_factory=list)
    made: int = 0

    def take(self, job: dict[str, Any]) -> _Slot:
        """Where a run takes place: a new folder, or that of the run before which kept it."""
        name = job.get("scratch", "")
        if name in self.retained:
            return self.retained[name]
        slot = self.free.pop() if self.free else self._new()
        try:
            if self.own_root:
                self._mount(slot, (job["scratch_bytes"], job["scratch_files"]))
            else:
                os.mkdir(slot.folder, 0o700)
                if slot.user is not None:
                    os.chown(slot.folder, slot.user, slot.user)
        except OSError:
            self.free.append(slot)
            raise
        if job.get("keep"):
            self.retained[name] = slot
        return slot

    @staticmethod
    def _mount(slot: _Slot, size: tuple[int, int]) -> None:
        """A folder that nobody has used: that of the run before where it did not, or a new one."""
        if slot.size == size:
            return
        if slot.size is not None:
            namespaces.unmount_scratch(slot.folder)
            slot.size = None
        namespaces.mount_scratch(slot.folder, *size, os.geteuid() if slot.user is None else slot.user)
        slot.size, slot.unused = size, namespaces.date_scratch(slot.folder)

    def _new(self) -> _Slot:
        number, self.made = self.made, self.made + 1
        user = _USERS[number % len(_USERS)] if self.config["users"] else None
        if not self.own_root:
            return self._slot(f"{self.config['scratch']}/{number}", user, None)
        if number >= namespaces.SLOTS:
            self.made -= 1
            raise OSError(f"{number} runs at a time are the most")
        folder = namespaces.slot_folder(number)
        ruleset = None
        if self.landlock:
            rights = jobs.file_rights(self.config["readable"], os.path.dirname(folder), executes=False)
            ruleset = walls.file_rules(rights, self.landlock)
        return self._slot(folder, user, ruleset)

    def _slot(self, folder: str, user: int | None, ruleset: int | None) -> _Slot:
        readable, rooted = self.config["readable"], self.own_root or self.config["rooted"]
        foreign = jobs.JobCell(folder, user, None, readable, self.landlock, self.filters, rooted)
        return _Slot(folder, user, replace(foreign, ruleset=ruleset), foreign)

    def drop(self, name: str) -> None:
        slot = self.retained.pop(name, None)
        if slot is not None:
            self.leave(slot)

    def leave(self, slot: _Slot, alone: bool = False) -> None:
        """The folder is gone, and the slot is for the next run; one that cannot be emptied is not used again. alone:
        whether the only process that could use the folder has ended; if it never did, the next run may have it."""
        try:
            if self.own_root:
                if not alone or namespaces.scratch_look(slot.folder) != slot.unused:
                    slot.size = None
                    namespaces.unmount_scratch(slot.folder)
            else:
                scratch.remove(slot.folder)
        except OSError:
            return  # the parent removes what is left when it closes
        self.free.append(slot)


@dataclass
class _Server:
    """runs: by the descriptor of their process; by_status: by that of the parent's socket, until it was told to end
    them."""

    control: socket.socket
    slots: _Slots
    nothing: int = -1
    runs: dict[int, _Run] = field(default_factory=dict)
    by_status: dict[int, _Run] = field(default_factory=dict)
    known_jobs: dict[bytes, dict[str, Any]] = field(default_factory=dict)

    def serve(self) -> None:
        """Until the parent is gone."""
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        while True:
            wait = _POLL_SECONDS if not self.slots.own_root and self.runs else 5.0
            for descriptor, _ in poll.poll(1000 * wait):
                if descriptor == self.control.fileno():
                    if not self._hear(poll):
                        return
                elif descriptor in self.runs:
                    self._finish(self.runs[descriptor], poll)
                elif descriptor in self.by_status:
                    self._end(self.by_status.pop(descriptor), "")
                    poll.unregister(descriptor)
            if not self.slots.own_root:
                self._measure()

    def close(self) -> None:
        """Ends all runs and removes what they wrote."""
        for run in self.runs.values():
            self._end(run, "")
            os.waitpid(run.pid, 0)
            self.slots.leave(run.slot)
        for name in [*self.slots.retained]:
            self.slots.drop(name)

    def _hear(self, poll: select.poll) -> bool:
        """One message of the parent. False: there will be no more."""
        try:
            data, extra, _, _ = self.control.recvmsg(_MESSAGE_BYTES, _EXTRA_BYTES)
        except ConnectionResetError:
            return False
        if not data:
            return False
        job = self.known_jobs.get(data)
        if job is None:
            job = self._read_job(data)
        if "drop" in job:
            self.slots.drop(job["drop"])
            return True
        descriptors = [number for _, _, part in extra for number in struct.unpack(f"{len(part) // 4}i", part)]
        run = self._fork(job, descriptors)
        if run is not None:
            self.runs[run.pidfd] = self.by_status[run.status] = run
            poll.register(run.pidfd, select.POLLIN)
            poll.register(run.status, select.POLLIN)
        return True

    def _read_job(self, data: bytes) -> dict[str, Any]:
        """What a message says; that of one run is mostly that of the run before."""
        job = json.loads(data)
        job["locks"] = {}
        if len(self.known_jobs) >= _KNOWN_JOBS:
            self.known_jobs.clear()
        self.known_jobs[data] = job
        return job

    def _fork(self, job: dict[str, Any], descriptors: list[int]) -> _Run | None:
        status, *handed = descriptors
        slot = None
        try:
            slot = self.slots.take(job)
            jobs.name_folder(slot.folder)  # before the fork: it is mostly the same as before
            cell = slot.cell if job["profile"] == "python" else slot.foreign
            locks = self._locks(job, cell)
            arrangement = self._arrangement(job, handed, cell)
            pid = os.fork()
        except OSError as fault:  # as when there are too many processes
            self._tell(status, pack_fault(f"the fork server: {fault}"))
            for descriptor in descriptors:
                os.close(descriptor)
            if slot is not None and slot not in self.slots.retained.values():
                self.slots.leave(slot)
            return None
        if pid == 0:
            try:
                jobs.lock_and_run(job, arrangement, locks, cell)
            finally:
                os._exit(1)
        for descriptor in handed:
            os.close(descriptor)
        return _Run(pid, status, os.pidfd_open(pid), slot, job)

    def _arrangement(self, job: dict[str, Any], handed: list[int], cell: jobs.JobCell) -> list[walls.LockStep]:
        handed_on = iter(handed)
        descriptors = [next(handed_on) if there else self.nothing for there in job["given"]]
        return jobs.arrange_steps(descriptors, cell.ruleset)

    @staticmethod
    def _locks(job: dict[str, Any], cell: jobs.JobCell) -> list[walls.LockStep]:
        """Empty where the rules for files are to be made by the run."""
        if job["profile"] != "python" or (cell.landlock and cell.ruleset is None):
            return []
        locks = job["locks"]
        if cell.scratch not in locks:
            locks[cell.scratch] = jobs.lock_steps(job, cell, None if cell.ruleset is None else len(job["given"]))
        return locks[cell.scratch]

    def _measure(self) -> None:
        for run in self.runs.values():
            if not run.cause:
                size, files = scratch.measure(run.slot.folder, run.job["scratch_files"])
                if size > run.job["scratch_bytes"]:
                    self._end(run, f"it wrote more than {run.job['scratch_bytes']:,} bytes of files")
                elif files > run.job["scratch_files"]:
                    self._end(run, f"it made more than {run.job['scratch_files']:,} files")

    def _end(self, run: _Run, cause: str) -> None:
        """Kills a run, whatever it started, and keeps why and how long it had waited for a core."""
        run.cause = run.cause or cause
        run.stopped = not cause and os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        try:
            with open(f"/proc/{run.pid}/schedstat") as file:
                run.waited = int(file.read().split()[1]) / 1e9
        except (OSError, IndexError, ValueError):
            run.waited = 0.0
        signal.pidfd_send_signal(run.pidfd, signal.SIGKILL)

    def _finish(self, run: _Run, poll: select.poll) -> None:
        if run.job["profile"] == "compiler":  # while its leader is not waited for, the group is still its own
            with contextlib.suppress(OSError):
                os.killpg(run.pid, signal.SIGKILL)
        _, status, usage = os.wait4(run.pid, 0)
        if run.job["profile"] == "compiler":
            _reap_group(run.pid)
        poll.unregister(run.pidfd)
        del self.runs[run.pidfd]
        if self.by_status.pop(run.status, None):
            poll.unregister(run.status)
        os.close(run.pidfd)
        if not run.job.get("keep"):
            self.slots.retained.pop(run.job.get("scratch", ""), None)
            self.slots.leave(run.slot, alone=run.job["profile"] == "python")
        code, seconds = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        self._tell(run.status, pack_ending(code, usage.ru_maxrss * 1024, seconds, run.waited, run.stopped, run.cause))
        os.close(run.status)

    @staticmethod
    def _tell(status: int, message: bytes) -> None:
        with contextlib.suppress(OSError):  # perhaps nobody waits any longer
            os.write(status, message)


def _reap_group(group: int) -> None:
    """What a compiler started and left behind; it was killed and came to us."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        try:
            if os.waitid(os.P_PGID, group, os.WEXITED | os.WNOHANG) is None:
                time.sleep(0.001)
        except ChildProcessError:
            return


def _raise_walls(config: dict[str, Any], control: socket.socket) -> _Server:
    """The walls that are common to all runs, and what is missing of them. Raises OSError where one that is there does
    not stand."""
    slots = _Slots(config, walls.landlock_version())
    server = _Server(control, slots)
    if config["namespaces"]:
        namespaces.enter(config["root"], config["readable"])
        slots.own_root = True
    if sys.platform == "linux":
        walls.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        walls.bound_capabilities()
        walls.hide_memory()
    config["seccomp"] = walls.seccomp_exists()
    jobs.prepare()
    server.nothing = os.open(os.devnull, os.O_RDWR)
    while server.nothing < jobs.LOW_DESCRIPTORS:  # so that what is handed to a run lies where nothing else goes
        server.nothing = os.dup(server.nothing)
    if config["seccomp"]:
        slots.filters = walls.ProfileFilters()
        walls.install_base_filter()
    return server


def serve_forks(text: str) -> None:
    """Serves runs. text: JSON of: control (descriptor of a socket of packets), readable (paths that runs may read),
    root and scratch (empty folders), namespaces (whether to go into its own),
    users (whether runs get a user of their own), rooted (whether it was given its own root folder), package (that holds
    herd)."""
    config = json.loads(text)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=fcntl.fcntl(config["control"], fcntl.F_DUPFD_CLOEXEC, jobs.LOW_DESCRIPTORS))
    os.close(config["control"])
    sys.path[:] = [path for path in sys.path if path != config["package"]]
    try:
        server = _raise_walls(config, control)
    except OSError as fault:
        control.send(json.dumps({"fault": str(fault)}).encode())
        os._exit(1)
    report = {"landlock": server.slots.landlock, "seccomp": config["seccomp"], "own_root": server.slots.own_root}
    control.send(json.dumps(report).encode())
    jobs.warm_up()
    gc.collect()
    walls.release_heap()
    gc.disable()
    gc.freeze()  # so that a child's first collection does not copy every page
    try:
        server.serve()
    finally:
        server.close()
        os._exit(0)
