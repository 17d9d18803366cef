"""Ranks that somebody else starts: torchrun or Slurm with one command on every node, or Ray Train.

Of the processes that torchrun or Slurm started the first makes the stages, the others join it: they are ranks of what
wants ranks, as many of them as it wants, and take shards of what is mapped over shards. All meet in a folder that every
node sees.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
import pickle
import secrets
import shutil
import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from herd.core.artifacts import atomic_write
from herd.core.errors import HerdError, SettingsError, StoppedError, TrainingError, to_herd_error
from herd.core.executor import ProgressReporter, RestartPolicy
from herd.core.manifests import partial_of
from herd.run.processes import sigterm_as_request
from herd.run.ranks import HEARTBEAT_SECONDS, STARTUP_SECONDS, Rank, free_port, rank_command, rank_env, watch_progress

_ShardT = TypeVar("_ShardT")
_ResultT = TypeVar("_ResultT")

LAUNCHERS = ("torchrun", "slurm")  # executors whose processes somebody else starts, all with one command
TIMEOUT_SECONDS = RestartPolicy().timeout_seconds
_LOOK_SECONDS = 0.05  # between two looks into the folder


class LauncherExecutor:
    """Processes that torchrun or Slurm started, as the first of them sees them. folder: of the run, on a disk that all
    nodes see. timeout_seconds: without a sign of life after which a rank counts as dead."""

    def __init__(self, folder: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._rendezvous = _open_rendezvous(folder)
        self._timeout_seconds = timeout_seconds

    @property
    def workers(self) -> int:
        """One: of this process's own threads. `map` has all ranks."""
        return 1

    def map(self, kernel: Callable[[_ShardT], _ResultT], shards: Iterable[_ShardT]) -> Iterator[_ResultT]:
        """As `Executor.map`, by all ranks: each takes the next shard that nobody has. Raises HerdError when a rank dies
        with a shard at work."""
        todo = list(shards)
        if Rank.from_env().world_size == 1 or len(todo) < 2:
            yield from map(kernel, todo)
            return
        folder = self._rendezvous.announce("map", pickle.dumps((kernel, todo)))
        try:
            yield from self._gather(folder, kernel, todo)
        finally:
            atomic_write(folder / "over", "")

    def _gather(
        self, folder: Path, kernel: Callable[[_ShardT], _ResultT], todo: Sequence[_ShardT]
    ) -> Iterator[_ResultT]:
        """The results of all ranks, in order; works on shards itself while there are any."""
        own: dict[int, _ResultT] = {}
        claims = _take_shards(folder, Rank.from_env().number, kernel, todo)
        watches: dict[str, FileWatch] = {}
        number = 0
        while number < len(todo):
            if (folder / "fault").exists():
                raise _read(folder / "fault")
            if number in own:
                yield own.pop(number)
                number += 1
            elif (result := folder / f"{number}.result").exists():
                yield _read(result)
                result.unlink()
                number += 1
            elif (shard := next(claims, None)) is not None:
                own[shard[0]] = shard[1]
            else:
                self._check(folder, number, watches)
                time.sleep(_LOOK_SECONDS)

    def _check(self, folder: Path, number: int, watches: dict[str, FileWatch]) -> None:
        """Raises HerdError when the rank that has a shard is dead."""
        claim = folder / f"{number}.claim"
        rank = claim.read_text(encoding="utf-8")
        # One that died before it could say who it is leaves the file as it was.
        sign = self._rendezvous.heartbeat_file(int(rank)) if rank else claim
        if watches.setdefault(rank, FileWatch(sign, self._timeout_seconds)).is_silent():
            raise HerdError(
                f"rank {rank or '?'} gave no sign of life for {self._timeout_seconds:.0f} s while it worked on shard "
                f"{number}: its process or node is gone; run the same command again"
            )

    def launch(self, job: Path, ranks: int, report: ProgressReporter, restart_policy: RestartPolicy) -> None:
        """As `Executor.launch`, by the first of the ranks that were started; the others wait for the next task.
        Raises SettingsError for more than were started."""
        started = Rank.from_env().world_size
        if ranks > started:
            raise SettingsError(f"the layout wants {ranks} ranks and {started} were started; change one of them")
        # A port of the job's own: the launcher's is taken by the launcher.
        # A name and no number: what this node calls itself may be 127.0.1.1 here, which leads elsewhere on the others.
        address = os.environ.get("MASTER_ADDR") or os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        rank_job = [str(job), ranks, address, free_port()]
        self._rendezvous.announce("job", json.dumps(rank_job).encode())
        with watch_progress(job.parent / "ranks", report):
            _run_rank(*rank_job)


def launched_executor(executor: str | None) -> str:
    """The executor that is named; where none is, torchrun's if that started this process beside others, and else the
    local one. Raises SettingsError for one by which each process of torchrun would make the run for itself."""
    started = Rank.from_env().world_size
    if "RANK" not in os.environ or started == 1:  # a script of Slurm shows its variables without `srun`, too
        return executor or "local"
    if executor is None or executor in LAUNCHERS:
        return executor or "torchrun"
    raise SettingsError(
        f"torchrun started {started} processes, and with the executor {executor} each would make the run for itself; "
        "leave --executor and the line `executor:` away, or start one process"
    )


@contextlib.contextmanager
def ranks_meet(folder: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[bool]:
    """Whether this process, one of those that torchrun or Slurm started with one command, is the first, which does what
    the command says. The others work for it in the meantime and are told after it has ended.

    The first comes before it plans, which may take as long as reading all data takes. folder: of the run, on a disk
    that all nodes see.
    """
    if Rank.from_env().number > 0:
        # Asked to end, ranks save; the processes that wait for them stay until they have, as long as the leader does.
        with sigterm_as_request():
            work_for_leader(folder, timeout_seconds)
        yield False
    else:
        rendezvous = _open_rendezvous(folder)
        try:
            yield True
        finally:
            rendezvous.end(timeout_seconds)


@contextlib.contextmanager
def launcher_session(executor: str, folder: Path, jobs: int) -> Iterator[tuple[str, int]]:
    """Where and with how many jobs this process runs stages: as given, unless torchrun or Slurm started it.

    Then it is the first rank (`ranks_meet`), which runs them one by one with an executor that has all ranks, and which
    saves when it is asked to end.
    """
    if executor in LAUNCHERS:
        with sigterm_as_request():
            yield f"joined:{folder}", 0
    else:
        yield executor, jobs


def work_for_leader(folder: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """What every rank but the first does: its part of one task after another, until the first rank ends.

    Raises HerdError when the first rank dies or never comes.
    """
    rendezvous = _Rendezvous.from_leader(folder)
    leader = FileWatch(rendezvous.heartbeat_file(0), timeout_seconds)
    number = 1
    while True:
        if (task := rendezvous.task(number, "job")).exists():
            try:
                _run_rank(*json.loads((task / "task").read_bytes()))
            except StoppedError:
                rendezvous.leave()  # or the first rank would wait until this one counts as dead
                raise
        elif (task := rendezvous.task(number, "map")).exists():
            _work_on(task)
        elif (rendezvous.folder / "end").exists():
            rendezvous.leave()
            return
        elif leader.is_silent():
            raise HerdError(
                f"the first rank gave no sign of life for {timeout_seconds:.0f} s: its process or node is gone; run "
                "the same command again"
            )
        else:
            time.sleep(_LOOK_SECONDS)
            continue
        number += 1


# ---- where ranks meet ----


class _Rendezvous:
    """The folder of one start of all ranks."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder = folder
        self.heartbeat_stop = _start_heartbeat(self.heartbeat_file(rank))
        self._tasks = 0

    @classmethod
    def from_leader(cls, folder: Path) -> _Rendezvous:
        """The one that the first rank holds now. What an earlier start left in the folder of the run is as old as it
        was: only who lives goes on beating."""
        contents: dict[Path, str] = {}
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            for file in (folder / "joined").glob(f"{_token()}-*/beat-0"):
                with contextlib.suppress(OSError):
                    content = file.read_text(encoding="utf-8")
                    if contents.setdefault(file, content) != content:
                        return cls(file.parent, Rank.from_env().number)
            time.sleep(_LOOK_SECONDS)
        raise HerdError(
            f"the first rank did not come to {folder} within {STARTUP_SECONDS:.0f} s; start all ranks with the same "
            "--out, on a disk that every node sees"
        )

    def announce(self, kind: str, content: bytes) -> Path:
        """Gives all ranks a task; its folder."""
        self._tasks += 1
        task = self.task(self._tasks, kind)
        partial = task.with_name(task.name + ".partial")
        partial.mkdir()
        (partial / "task").write_bytes(content)
        return partial.rename(task)

    def task(self, number: int, kind: str) -> Path:
        return self.folder / f"{number}.{kind}"

    def heartbeat_file(self, rank: int) -> Path:
        return self.folder / f"beat-{rank}"

    def leave(self) -> None:
        """Tells the first rank that this one goes."""
        self.heartbeat_stop.set()
        atomic_write(self.folder / f"left-{Rank.from_env().number}", "")

    def end(self, timeout_seconds: float) -> None:
        """Sends the others home, and stays until they have left, so that they see why it goes."""
        atomic_write(self.folder / "end", "")
        files = {rank: self.heartbeat_file(rank) for rank in range(1, Rank.from_env().world_size)}
        # One that has not come yet has its time to start.
        watches = {
            n: FileWatch(file, timeout_seconds if file.exists() else STARTUP_SECONDS) for n, file in files.items()
        }
        while any(
            not (self.folder / f"left-{rank}").exists() and not watch.is_silent() for rank, watch in watches.items()
        ):
            time.sleep(_LOOK_SECONDS)
        self.heartbeat_stop.set()
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # of a run that was refused nothing stays, not even its folder
            self.folder.parent.rmdir()
            self.folder.parent.parent.rmdir()


@functools.cache
def _open_rendezvous(folder: Path) -> _Rendezvous:
    """The meeting that this process, the first rank, holds in the folder of a run."""
    own = folder / "joined" / f"{_token()}-{secrets.token_hex(4)}"
    own.mkdir(parents=True)
    return _Rendezvous(own, 0)


def _token() -> str:
    """Names this start of all ranks, as far as launchers tell one from another."""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_STEP_ID", "MASTER_PORT")
    return hashlib.sha256("/".join(os.environ.get(name, "") for name in names).encode()).hexdigest()[:8]


def _start_heartbeat(file: Path) -> threading.Event:
    """From now on `file` changes as long as this process lives, or until the event that is given back is set."""
    stop = threading.Event()

    def beat() -> None:
        partial = file.with_name(file.name + ".partial")
        for count in itertools.count(1):
            with contextlib.suppress(OSError):
                partial.write_text(str(count), encoding="utf-8")
                partial.rename(file)
            if stop.wait(HEARTBEAT_SECONDS):
                return

    threading.Thread(target=beat, daemon=True).start()
    return stop


class FileWatch:
    """Whether a file goes on changing, by this process's own clock."""

    def __init__(self, file: Path, timeout_seconds: float) -> None:
        self._file, self._timeout_seconds = file, timeout_seconds
        self._content, self._since = "", time.monotonic()

    def is_silent(self) -> bool:
        """Whether it has not changed for so long, between the times that this was asked."""
        content = ""
        with contextlib.suppress(OSError):
            content = self._file.read_text(encoding="utf-8")
        now = time.monotonic()
        if content != self._content:
            self._content, self._since = content, now
        return now - self._since > self._timeout_seconds


# ---- shards ----


def _work_on(task: Path) -> None:
    """Takes shards of a task until there are none left. Faults are reported to the first rank, which ends all."""
    kernel, todo = _read(task / "task")
    rank = Rank.from_env().number
    try:
        for number, result in _take_shards(task, rank, kernel, todo):
            _write(task / f"{number}.result", result)
    except Exception as fault:
        traceback.print_exc()
        _write(task / "fault", _picklable_error(fault, rank))


def _take_shards(
    folder: Path, rank: int, kernel: Callable[[_ShardT], _ResultT], todo: Sequence[_ShardT]
) -> Iterator[tuple[int, _ResultT]]:
    """One shard after another that no other rank took, and what the kernel made of it."""
    for number, shard in enumerate(todo):
        if (folder / "over").exists() or (folder / "fault").exists():
            return
        try:
            claim = os.open(folder / f"{number}.claim", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        except FileExistsError:
            continue
        os.write(claim, str(rank).encode())
        os.close(claim)
        yield number, kernel(shard)


def _picklable_error(fault: Exception, rank: int) -> HerdError:
    error = to_herd_error(fault, f"rank {rank}")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, made the moment before
        return error
    except Exception:
        return HerdError(str(error))


def _read(file: Path) -> Any:
    return pickle.loads(file.read_bytes())  # noqa: S301 - written by a rank of this run


def _write(file: Path, value: object) -> None:
    partial = partial_of(file)  # several ranks may write `fault` at once
    partial.write_bytes(pickle.dumps(value))
    partial.rename(file)


# ---- ranks ----


def _run_rank(job: str, ranks: int, address: str, port: int) -> None:
    """This process's part, in a process of its own: torch's groups serve one job. None where fewer ranks do it."""
    here = Rank.from_env()
    if here.number >= ranks:
        return
    env = rank_env(replace(here, world_size=ranks), address, port) | {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    process = subprocess.run(rank_command(Path(job)), check=False, env=os.environ | env)
    if process.returncode == StoppedError.exit_code:
        raise StoppedError("asked to end; what was saved last is gone on from by the same command")
    if process.returncode:
        raise TrainingError(f"rank {Rank.from_env().number} ended with {process.returncode}; its output says why")
