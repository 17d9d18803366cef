"""Several processes that make one artifact together: started, watched, and started again when one dies or freezes.

Ranks are told who they are by the variables that torchrun sets (RANK, WORLD_SIZE, MASTER_ADDR, ...), so the same
program runs under torchrun, Slurm or Ray, where those watch over it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from herd.core.errors import HerdError, StoppedError, TrainingError
from herd.core.executor import ProgressReporter, RestartPolicy
from herd.core.same_python import module_command
from herd.run import processes
from herd.run.gc_pause import gc_paused

HEARTBEAT_SECONDS = 0.5
STARTUP_SECONDS = 300.0  # until the first beat: Python has to import what it needs
_WORKING_SECONDS = 0.02  # of a core, between two beats; threads that only wait use less
_COLLECTIVES = os.sep + os.path.join("torch", "distributed") + os.sep
DISK_FULL = 28  # exit code of a rank that found no room; ENOSPC's number
SHUTDOWN_SECONDS = 60.0  # for ranks to save when they are asked to end


@dataclass(frozen=True)
class Rank:
    """Which of how many processes this is. local_rank: its number on this machine."""

    number: int
    world_size: int
    local_rank: int

    @classmethod
    def from_env(cls) -> Rank:
        """What the launcher said, torchrun's way or Slurm's; 0 of 1 when there is none."""
        env = os.environ
        if "RANK" in env:
            return cls(int(env["RANK"]), int(env["WORLD_SIZE"]), int(env.get("LOCAL_RANK", "0")))
        if "SLURM_PROCID" in env and int(env.get("SLURM_NTASKS", "1")) > 1:
            return cls(int(env["SLURM_PROCID"]), int(env["SLURM_NTASKS"]), int(env.get("SLURM_LOCALID", "0")))
        return cls(0, 1, 0)


def rank_env(rank: Rank, address: str, port: int) -> dict[str, str]:
    """What a rank's environment has to say."""
    env = {
        "RANK": str(rank.number),
        "LOCAL_RANK": str(rank.local_rank),
        "WORLD_SIZE": str(rank.world_size),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }
    return env | ({"GLOO_SOCKET_IFNAME": "lo"} if address == "127.0.0.1" and sys.platform == "linux" else {})


DEFAULT_POLICY = RestartPolicy()


class RankSupervisor:
    """Processes on this machine that work as ranks. folder: for their beats and what they say, on a local disk."""

    def __init__(
        self, command: list[str], ranks: int, folder: Path, restart_policy: RestartPolicy = DEFAULT_POLICY
    ) -> None:
        self.command, self.ranks, self.folder, self.restart_policy = command, ranks, folder, restart_policy
        self._running: list[subprocess.Popen[bytes]] = []

    def run(self, report: ProgressReporter) -> None:
        """Returns when all ranks have ended well.

        Those that die or are silent for too long are all started again, and go on from what they saved. Raises the
        HerdError that a rank gave up with, TrainingError when they keep dying, and StoppedError when this process was
        asked to end and they have saved.
        """
        fruitless, progress = 0, -1.0
        while True:
            self._clear()
            why = self._attempt(report)
            if why is None:
                return
            now = self._read_progress()
            fruitless = 0 if now > progress else fruitless + 1
            progress = max(progress, now)
            if fruitless > self.restart_policy.max_restarts:
                raise TrainingError(
                    f"ranks keep dying ({why}) and got no further in {fruitless} tries; see the end of the stage's log"
                )
            print(f"starting all ranks again: {why}", flush=True)

    def _attempt(self, report: ProgressReporter) -> str | None:
        """One start of all ranks; why it ended, None when all is done."""
        port = free_port()
        try:
            with processes.block_interrupts():
                for number in range(self.ranks):
                    env = rank_env(Rank(number, self.ranks, number), "127.0.0.1", port)
                    env |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}  # ranks share the cores
                    self._running.append(subprocess.Popen(self.command, env=os.environ | env))
            return self._watch(report)
        finally:
            for process in self._running:
                with contextlib.suppress(OSError):
                    process.kill()  # also ends one that is frozen
            for process in self._running:
                process.wait()
            self._running.clear()

    def _watch(self, report: ProgressReporter) -> str | None:
        began, asked_at = time.time(), 0.0
        stall_detector = StallDetector(self.restart_policy)
        while True:
            exit_codes = [process.poll() for process in self._running]
            fault = self.folder / "fault"
            if fault.exists():
                raise pickle.loads(fault.read_bytes())  # noqa: S301 - written by our own rank a moment ago
            if processes.stop_requested():
                asked_at = asked_at or self._ask_to_end()
                if all(code is not None for code in exit_codes) or time.time() - asked_at > SHUTDOWN_SECONDS:
                    raise StoppedError("asked to end; what was saved last is gone on from by the same command")
            elif all(code == 0 for code in exit_codes):
                return None
            else:
                if DISK_FULL in exit_codes:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder.parent))
                for number, code in enumerate(exit_codes):
                    if code not in (None, 0):
                        return f"rank {number} ended with {code}"
                for number in range(self.ranks):
                    silent = time.time() - self._last_beat(number, began)
                    if exit_codes[number] is None and silent > 0:
                        return f"rank {number} was silent for {self.restart_policy.timeout_seconds:.0f} s"
                running = [number for number, code in enumerate(exit_codes) if code is None]
                if why := stall_detector.stall_reason(read_heartbeats(self.folder, running), time.monotonic()):
                    return why
            forward_progress(self.folder, report)
            time.sleep(0.02)

    def _last_beat(self, number: int, began: float) -> float:
        """When a rank's time is over."""
        try:
            return (self.folder / f"beat-{number}").stat().st_mtime + self.restart_policy.timeout_seconds
        except OSError:
            return began + STARTUP_SECONDS

    def _ask_to_end(self) -> float:
        for process in self._running:
            with contextlib.suppress(OSError):
                process.send_signal(signal.SIGTERM)
        return time.time()

    def _read_progress(self) -> float:
        try:
            return float(json.loads((self.folder / "progress.json").read_text(encoding="utf-8"))[0])
        except (OSError, ValueError):
            return -1.0

    def _clear(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in (*self.folder.glob("beat-*"), self.folder / "fault"):
            file.unlink(missing_ok=True)


@dataclass(frozen=True)
class HeartbeatState:
    """What a rank said last. progress_count: how often its work got on. busy_beats: in how many beats it computed.
    is_waiting: whether its main thread is waiting for other ranks."""

    progress_count: int = 0
    busy_beats: int = 0
    is_waiting: bool = False


def read_heartbeats(folder: Path, ranks: Iterable[int]) -> dict[int, HeartbeatState]:
    """Of each of these ranks; of one that has not said anything yet, nothing done."""
    states = {}
    for number in ranks:
        try:
            states[number] = HeartbeatState(*json.loads((folder / f"beat-{number}").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            states[number] = HeartbeatState()
    return states


class StallDetector:
    """Whether ranks get on, seen from outside: progress counts, not life."""

    def __init__(self, restart_policy: RestartPolicy) -> None:
        self.restart_policy = restart_policy
        self._before: dict[int, HeartbeatState] = {}
        self._last_active = self._last_progress = 0.0

    def stall_reason(self, beats: dict[int, HeartbeatState], now: float) -> str:
        """Why ranks that look like this at the second `now` will get no further; empty while they may."""
        before, self._before = self._before, beats
        if before.keys() != beats.keys():
            self._last_active = self._last_progress = now
            return ""
        pairs = [(before[number], beat) for number, beat in beats.items()]
        if any(a.progress_count != b.progress_count for a, b in pairs):
            self._last_active = self._last_progress = now
        if any(a.busy_beats != b.busy_beats for a, b in pairs):
            self._last_active = now
        # Until a first word of progress all is being made ready, which may take long.
        has_started = any(beat.progress_count for beat in beats.values())
        stuck = (
            self.restart_policy.stuck_seconds
            if has_started
            else max(self.restart_policy.stuck_seconds, STARTUP_SECONDS)
        )
        idle = self.restart_policy.idle_seconds if has_started else STARTUP_SECONDS
        if now - self._last_active > idle:
            return f"{self._describe_hang()}: no rank did anything for {idle:.0f} s"
        if now - self._last_progress > stuck:
            return f"{self._describe_hang()}: no rank got on for {stuck:.0f} s"
        return ""

    def _describe_hang(self) -> str:
        """Those that do not wait for others."""
        numbers = [str(number) for number, beat in self._before.items() if not beat.is_waiting]
        return f"rank {' and '.join(numbers)} hangs" if numbers else "ranks wait for each other"


def forward_progress(folder: Path, report: ProgressReporter) -> None:
    """Shows the progress that the first rank wrote into `folder`, if any."""
    with contextlib.suppress(OSError, ValueError):  # not written yet
        report(*json.loads((folder / "progress.json").read_text(encoding="utf-8")))


@contextlib.contextmanager
def watch_progress(folder: Path, report: ProgressReporter) -> Iterator[None]:
    """Shows, while the block lasts, the progress that the first rank writes into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            forward_progress(folder, report)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def rank_command(job: Path) -> list[str]:
    """What every rank runs."""
    return module_command("herd.run.rank", str(job))


# ---- inside a rank ----


class Heartbeat:
    """This rank's signs of life, from a thread: a process that is frozen gives none. With each it says how far the
    rank's own work has come, for a thread beats on where that hangs."""

    def __init__(self, folder: Path, rank: Rank) -> None:
        self.folder, self.rank = folder, rank
        self._last, self._progress_count = 0.0, 0
        self._main = threading.main_thread().ident or 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Gives no more signs."""
        self._closed.set()
        self._thread.join(HEARTBEAT_SECONDS)  # no longer: it may hang in a file system

    def _beat(self) -> None:
        file = self.folder / f"beat-{self.rank.number}"
        partial = file.with_name(f"pulse-{self.rank.number}.partial")
        busy_beats, before = 0, 0.0
        while not self._closed.is_set():
            # What this thread uses itself is no work.
            cpu_seconds = time.process_time() - time.thread_time()
            busy_beats, before = busy_beats + (cpu_seconds - before > _WORKING_SECONDS), cpu_seconds
            with contextlib.suppress(OSError):
                partial.write_text(json.dumps([self._progress_count, busy_beats, self._is_waiting()]), encoding="utf-8")
                partial.rename(file)
            self._closed.wait(HEARTBEAT_SECONDS)

    def _is_waiting(self) -> bool:
        """Whether the main thread waits for other ranks."""
        with gc_paused():  # or Python before 3.12 may stand still for ever in there (CPython issue 106883)
            frame = sys._current_frames().get(self._main)
        while frame is not None:
            if _COLLECTIVES in frame.f_code.co_filename:
                return True
            frame = frame.f_back
        return False

    def report(self, completed: float, total: float, words: str) -> None:
        """Progress: of every rank that it gets on, of the first one also how far."""
        self._progress_count += 1
        if self.rank.number == 0 and time.monotonic() - self._last > 0.1:
            self._last = time.monotonic()
            partial = self.folder / "progress.partial"
            partial.write_text(json.dumps([completed, total, words]), encoding="utf-8")
            partial.rename(self.folder / "progress.json")

    def give_up(self, fault: HerdError) -> None:
        """Reports to whoever started the ranks that starting them again will not help."""
        partial = self.folder / f"fault-{self.rank.number}"
        partial.write_bytes(pickle.dumps(fault))
        partial.rename(self.folder / "fault")
