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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from herd.core import processes
from herd.core.errors import HerdError, StoppedError, TrainingError

Report = Callable[[float, float, str], None]

BEAT_SECONDS = 0.5
STARTING_SECONDS = 300.0  # until the first beat: Python has to import what it needs
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


@dataclass(frozen=True)
class Patience:
    """How long a rank may be silent before all are ended, and how often they are started again without getting on."""

    silent_seconds: float = 30.0
    restarts: int = 3


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


def pass_on(folder: Path, report: Report) -> None:
    """Shows the progress that the first rank wrote into `folder`, if any."""
    with contextlib.suppress(OSError, ValueError):  # not written yet
        report(*json.loads((folder / "progress.json").read_text(encoding="utf-8")))


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


def rank_command(job: Path) -> list[str]:
    """What every rank runs."""
    return [sys.executable, "-m", "herd.core.rank", str(job)]


# ---- inside a rank ----


class Pulse:
    """This rank's signs of life, from a thread: a process that is frozen gives none."""

    def __init__(self, folder: Path, rank: Rank) -> None:
        self.folder, self.rank = folder, rank
        self._last = 0.0
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        file = self.folder / f"beat-{self.rank.number}"
        while True:
            with contextlib.suppress(OSError):
                file.touch()
            time.sleep(BEAT_SECONDS)

    def report(self, done: float, total: float, words: str) -> None:
        """Progress, from the first rank."""
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
