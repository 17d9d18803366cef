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
from herd.core.executor import Patience, Report
from herd.run import processes

BEAT_SECONDS = 0.5
STARTING_SECONDS = 300.0  # until the first beat: Python has to import what it needs
_WORKING_SECONDS = 0.02  # of a core, between two beats; threads that only wait use less
_COLLECTIVES = os.sep + os.path.join("torch", "distributed") + os.sep
DISK_FULL = 28  # exit code of a rank that found no room; ENOSPC's number
LEAVING_SECONDS = 60.0  # for ranks to save when they are asked to end


@dataclass(frozen=True)
class Rank:
    """Which of how many processes this is. local: its number on this machine."""

    number: int
    of: int
    local: int

    @classmethod
    def here(cls) -> Rank:
        """What the launcher said, torchrun's way or Slurm's; 0 of 1 when there is none."""
        given = os.environ
        if "RANK" in given:
            return cls(int(given["RANK"]), int(given["WORLD_SIZE"]), int(given.get("LOCAL_RANK", "0")))
        if "SLURM_PROCID" in given and int(given.get("SLURM_NTASKS", "1")) > 1:
            return cls(int(given["SLURM_PROCID"]), int(given["SLURM_NTASKS"]), int(given.get("SLURM_LOCALID", "0")))
        return cls(0, 1, 0)


def variables(rank: Rank, address: str, port: int) -> dict[str, str]:
    """What a rank's environment has to say."""
    found = {
        "RANK": str(rank.number),
        "LOCAL_RANK": str(rank.local),
        "WORLD_SIZE": str(rank.of),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }
    return found | ({"GLOO_SOCKET_IFNAME": "lo"} if address == "127.0.0.1" and sys.platform == "linux" else {})


PATIENT = Patience()


class Crew:
    """Processes on this machine that work as ranks. folder: for their beats and what they say, on a local disk."""

    def __init__(self, command: list[str], ranks: int, folder: Path, patience: Patience = PATIENT) -> None:
        self.command, self.ranks, self.folder, self.patience = command, ranks, folder, patience
        self._running: list[subprocess.Popen[bytes]] = []

    def work(self, report: Report) -> None:
        """Returns when all ranks have ended well.

        Those that die or are silent for too long are all started again, and go on from what they saved. Raises the
        HerdError that a rank gave up with, TrainingError when they keep dying, and StoppedError when this process was
        asked to end and they have saved.
        """
        fruitless, done = 0, -1.0
        while True:
            self._clear()
            why = self._attempt(report)
            if why is None:
                return
            now = self._done()
            fruitless = 0 if now > done else fruitless + 1
            done = max(done, now)
            if fruitless > self.patience.restarts:
                raise TrainingError(
                    f"ranks keep dying ({why}) and got no further in {fruitless} tries; see the end of the stage's log"
                )
            print(f"starting all ranks again: {why}", flush=True)

    def _attempt(self, report: Report) -> str | None:
        """One start of all ranks; why it ended, None when all is done."""
        port = free_port()
        try:
            with processes.interrupts_held():
                for number in range(self.ranks):
                    told = variables(Rank(number, self.ranks, number), "127.0.0.1", port)
                    told |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}  # ranks share the cores
                    self._running.append(subprocess.Popen(self.command, env=os.environ | told))
            return self._watch(report)
        finally:
            for one in self._running:
                with contextlib.suppress(OSError):
                    one.kill()  # also ends one that is frozen
            for one in self._running:
                one.wait()
            self._running.clear()

    def _watch(self, report: Report) -> str | None:
        began, asked = time.time(), 0.0
        motion = Motion(self.patience)
        while True:
            ended = [one.poll() for one in self._running]
            fault = self.folder / "fault"
            if fault.exists():
                raise pickle.loads(fault.read_bytes())  # noqa: S301 - written by our own rank a moment ago
            if processes.stop_asked():
                asked = asked or self._ask_to_end()
                if all(code is not None for code in ended) or time.time() - asked > LEAVING_SECONDS:
                    raise StoppedError("asked to end; what was saved last is gone on from by the same command")
            elif all(code == 0 for code in ended):
                return None
            else:
                if DISK_FULL in ended:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder.parent))
                for number, code in enumerate(ended):
                    if code not in (None, 0):
                        return f"rank {number} ended with {code}"
                for number in range(self.ranks):
                    silent = time.time() - self._last_beat(number, began)
                    if ended[number] is None and silent > 0:
                        return f"rank {number} was silent for {self.patience.silent_seconds:.0f} s"
                running = [number for number, code in enumerate(ended) if code is None]
                if why := motion.stopped(read_beats(self.folder, running), time.monotonic()):
                    return why
            pass_on(self.folder, report)
            time.sleep(0.02)

    def _last_beat(self, number: int, began: float) -> float:
        """When a rank's time is over."""
        try:
            return (self.folder / f"beat-{number}").stat().st_mtime + self.patience.silent_seconds
        except OSError:
            return began + STARTING_SECONDS

    def _ask_to_end(self) -> float:
        for one in self._running:
            with contextlib.suppress(OSError):
                one.send_signal(signal.SIGTERM)
        return time.time()

    def _done(self) -> float:
        try:
            return float(json.loads((self.folder / "progress.json").read_text(encoding="utf-8"))[0])
        except (OSError, ValueError):
            return -1.0

    def _clear(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in (*self.folder.glob("beat-*"), self.folder / "fault"):
            file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Beat:
    """What a rank said last. done: how often its work got on. worked: in how many beats it computed. waits: whether
    its main thread is waiting for other ranks."""

    done: int = 0
    worked: int = 0
    waits: bool = False


def read_beats(folder: Path, ranks: Iterable[int]) -> dict[int, Beat]:
    """Of each of these ranks; of one that has not said anything yet, nothing done."""
    found = {}
    for number in ranks:
        try:
            found[number] = Beat(*json.loads((folder / f"beat-{number}").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            found[number] = Beat()
    return found


class Motion:
    """Whether ranks get on, seen from outside: progress counts, not life."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._before: dict[int, Beat] = {}
        self._moved = self._got_on = 0.0

    def stopped(self, beats: dict[int, Beat], now: float) -> str:
        """Why ranks that look like this at the second `now` will get no further; empty while they may."""
        before, self._before = self._before, beats
        if before.keys() != beats.keys():
            self._moved = self._got_on = now
            return ""
        pairs = [(before[number], beat) for number, beat in beats.items()]
        if any(a.done != b.done for a, b in pairs):
            self._moved = self._got_on = now
        if any(a.worked != b.worked for a, b in pairs):
            self._moved = now
        # Until a first word of progress all is being made ready, which may take long.
        begun = any(beat.done for beat in beats.values())
        stuck = self.patience.stuck_seconds if begun else max(self.patience.stuck_seconds, STARTING_SECONDS)
        idle = self.patience.idle_seconds if begun else STARTING_SECONDS
        if now - self._moved > idle:
            return f"{self._hanging()}: no rank did anything for {idle:.0f} s"
        if now - self._got_on > stuck:
            return f"{self._hanging()}: no rank got on for {stuck:.0f} s"
        return ""

    def _hanging(self) -> str:
        """Those that do not wait for others."""
        numbers = [str(number) for number, beat in self._before.items() if not beat.waits]
        return f"rank {' and '.join(numbers)} hangs" if numbers else "ranks wait for each other"


def pass_on(folder: Path, report: Report) -> None:
    """Shows the progress that the first rank wrote into `folder`, if any."""
    with contextlib.suppress(OSError, ValueError):  # not written yet
        report(*json.loads((folder / "progress.json").read_text(encoding="utf-8")))


@contextlib.contextmanager
def reporting(folder: Path, report: Report) -> Iterator[None]:
    """Shows, while the block lasts, the progress that the first rank writes into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            pass_on(folder, report)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def rank_command(job: Path) -> list[str]:
    """What every rank runs."""
    return [sys.executable, "-m", "herd.run.rank", str(job)]


# ---- inside a rank ----


class Pulse:
    """This rank's signs of life, from a thread: a process that is frozen gives none. With each it says how far the
    rank's own work has come, for a thread beats on where that hangs."""

    def __init__(self, folder: Path, rank: Rank) -> None:
        self.folder, self.rank = folder, rank
        self._last, self._done = 0.0, 0
        self._main = threading.main_thread().ident or 0
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        file = self.folder / f"beat-{self.rank.number}"
        partial = file.with_name(f"pulse-{self.rank.number}.partial")
        worked, before = 0, 0.0
        while True:
            # What this thread uses itself is no work.
            used = time.process_time() - time.thread_time()
            worked, before = worked + (used - before > _WORKING_SECONDS), used
            with contextlib.suppress(OSError):
                partial.write_text(json.dumps([self._done, worked, self._waits()]), encoding="utf-8")
                partial.rename(file)
            time.sleep(BEAT_SECONDS)

    def _waits(self) -> bool:
        """Whether the main thread waits for other ranks."""
        frame = sys._current_frames().get(self._main)
        while frame is not None:
            if _COLLECTIVES in frame.f_code.co_filename:
                return True
            frame = frame.f_back
        return False

    def report(self, done: float, total: float, words: str) -> None:
        """Progress: of every rank that it gets on, of the first one also how far."""
        self._done += 1
        if self.rank.number == 0 and time.monotonic() - self._last > 0.1:
            self._last = time.monotonic()
            partial = self.folder / "progress.partial"
            partial.write_text(json.dumps([done, total, words]), encoding="utf-8")
            partial.rename(self.folder / "progress.json")

    def give_up(self, fault: HerdError) -> None:
        """Tells whoever started the ranks that starting them again will not help."""
        partial = self.folder / f"fault-{self.rank.number}"
        partial.write_bytes(pickle.dumps(fault))
        partial.rename(self.folder / "fault")
