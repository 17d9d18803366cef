"""Ranks that somebody else starts: torchrun or Slurm with one command on every node, or Ray Train.

Of the processes that torchrun or Slurm started the first makes the stages, the others join it: they are ranks of what
wants ranks, and take shards of what is mapped over shards. All meet in a folder that every node sees.
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
from pathlib import Path
from typing import Any, TypeVar

from herd.core.artifacts import write_whole
from herd.core.errors import HerdError, SettingsError, TrainingError, as_sentence
from herd.core.executor import Patience, Report
from herd.run.ranks import BEAT_SECONDS, STARTING_SECONDS, Rank, free_port, rank_command, reporting, variables

T = TypeVar("T")
R = TypeVar("R")

SILENT_SECONDS = Patience().silent_seconds
_LOOK_SECONDS = 0.05  # between two looks into the folder


class JoinedPlace:
    """Processes that torchrun or Slurm started, as the first of them sees them. folder: of the run, on a disk that all
    nodes see. silent_seconds: without a sign of life after which a rank counts as dead."""

    def __init__(self, folder: Path, silent_seconds: float = SILENT_SECONDS) -> None:
        self._meeting = _lead(folder)
        self._silent_seconds = silent_seconds

    @property
    def workers(self) -> int:
        """One: of this process's own threads. `map` has all ranks."""
        return 1

    def map(self, kernel: Callable[[T], R], shards: Iterable[T]) -> Iterator[R]:
        """As `Place.map`, by all ranks: each takes the next shard that nobody has. Raises HerdError when a rank dies
        with a shard at work."""
        todo = list(shards)
        if Rank.here().of == 1 or len(todo) < 2:
            yield from map(kernel, todo)
            return
        folder = self._meeting.announce("map", pickle.dumps((kernel, todo)))
        try:
            yield from self._gather(folder, kernel, todo)
        finally:
            write_whole(folder / "over", "")

    def _gather(self, folder: Path, kernel: Callable[[T], R], todo: Sequence[T]) -> Iterator[R]:
        """The results of all ranks, in order; works on shards itself while there are any."""
        own: dict[int, R] = {}
        taken = _take_shards(folder, Rank.here().number, kernel, todo)
        watches: dict[str, Watch] = {}
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
            elif (shard := next(taken, None)) is not None:
                own[shard[0]] = shard[1]
            else:
                self._check(folder, number, watches)
                time.sleep(_LOOK_SECONDS)

    def _check(self, folder: Path, number: int, watches: dict[str, Watch]) -> None:
        """Raises HerdError when the rank that has a shard is dead."""
        claim = folder / f"{number}.claim"
        rank = claim.read_text(encoding="utf-8")
        # One that died before it could say who it is leaves the file as it was.
        sign = self._meeting.beat_of(int(rank)) if rank else claim
        if watches.setdefault(rank, Watch(sign, self._silent_seconds)).is_silent():
            raise HerdError(
                f"rank {rank or '?'} gave no sign of life for {self._silent_seconds:.0f} s while it worked on shard "
                f"{number}: its process or node is gone; run the same command again"
            )

    def launch(self, job: Path, ranks: int, report: Report, patience: Patience) -> None:
        here = Rank.here()
        if ranks != here.of:
            raise SettingsError(f"the layout wants {ranks} ranks and {here.of} were started; change one of them")
        # A port of the job's own: the launcher's is taken by the launcher.
        address = os.environ.get("MASTER_ADDR") or socket.gethostbyname(socket.gethostname())
        rank_job = [str(job), address, free_port()]
        self._meeting.announce("job", json.dumps(rank_job).encode())
        with reporting(job.parent / "ranks", report):
            _take_rank(*rank_job)


@contextlib.contextmanager
def joined(
    place: str, folder: Path, jobs: int, silent_seconds: float = SILENT_SECONDS
) -> Iterator[tuple[str, int] | None]:
    """Where and with how many jobs this process runs stages: as given, unless torchrun or Slurm started it.

    Then the first rank runs them one by one at a place that has all ranks. The others work for it until it ends, and
    are given None after that.
    """
    if place not in ("torchrun", "slurm"):
        yield place, jobs
    elif Rank.here().number > 0:
        join(folder, silent_seconds)
        yield None
    else:
        meeting = _lead(folder)
        try:
            yield f"joined:{folder}", 0
        finally:
            meeting.end(silent_seconds)


def join(folder: Path, silent_seconds: float = SILENT_SECONDS) -> None:
    """What every rank but the first does: its part of one task after another, until the first rank ends.

    Raises HerdError when the first rank dies or never comes.
    """
    meeting = _Meeting.of_leader(folder)
    leader = Watch(meeting.beat_of(0), silent_seconds)
    number = 1
    while True:
        if (task := meeting.task(number, "job")).exists():
            _take_rank(*json.loads((task / "task").read_bytes()))
        elif (task := meeting.task(number, "map")).exists():
            _work_on(task)
        elif (meeting.folder / "end").exists():
            meeting.beating.set()
            write_whole(meeting.folder / f"left-{Rank.here().number}", "")
            return
        elif leader.is_silent():
            raise HerdError(
                f"the first rank gave no sign of life for {silent_seconds:.0f} s: its process or node is gone; run the "
                "same command again"
            )
        else:
            time.sleep(_LOOK_SECONDS)
            continue
        number += 1


# ---- where ranks meet ----


class _Meeting:
    """The folder of one start of all ranks."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder = folder
        self.beating = _beat(self.beat_of(rank))
        self._tasks = 0

    @classmethod
    def of_leader(cls, folder: Path) -> _Meeting:
        """The one that the first rank holds now. What an earlier start left in the folder of the run is as old as it
        was: only who lives goes on beating."""
        watched: dict[Path, str] = {}
        deadline = time.monotonic() + STARTING_SECONDS
        while time.monotonic() < deadline:
            for beat in (folder / "joined").glob(f"{_token()}-*/beat-0"):
                with contextlib.suppress(OSError):
                    said = beat.read_text(encoding="utf-8")
                    if watched.setdefault(beat, said) != said:
                        return cls(beat.parent, Rank.here().number)
            time.sleep(_LOOK_SECONDS)
        raise HerdError(
            f"the first rank did not come to {folder} within {STARTING_SECONDS:.0f} s; start all ranks with the same "
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

    def beat_of(self, rank: int) -> Path:
        return self.folder / f"beat-{rank}"

    def end(self, silent_seconds: float) -> None:
        """Sends the others home, and stays until they have left, so that they see why it goes."""
        write_whole(self.folder / "end", "")
        beats = {rank: self.beat_of(rank) for rank in range(1, Rank.here().of)}
        # One that has not come yet has its time to start.
        watches = {n: Watch(file, silent_seconds if file.exists() else STARTING_SECONDS) for n, file in beats.items()}
        while any(
            not (self.folder / f"left-{rank}").exists() and not watch.is_silent() for rank, watch in watches.items()
        ):
            time.sleep(_LOOK_SECONDS)
        self.beating.set()
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def _lead(folder: Path) -> _Meeting:
    """The meeting that this process, the first rank, holds in the folder of a run."""
    own = folder / "joined" / f"{_token()}-{secrets.token_hex(4)}"
    own.mkdir(parents=True)
    return _Meeting(own, 0)


def _token() -> str:
    """Names this start of all ranks, as far as launchers tell one from another."""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_STEP_ID", "MASTER_PORT")
    return hashlib.sha256("/".join(os.environ.get(name, "") for name in names).encode()).hexdigest()[:8]


def _beat(file: Path) -> threading.Event:
    """From now on `file` changes as long as this process lives, or until the event that is given back is set."""
    over = threading.Event()

    def beat() -> None:
        partial = file.with_name(file.name + ".partial")
        for count in itertools.count(1):
            with contextlib.suppress(OSError):
                partial.write_text(str(count), encoding="utf-8")
                partial.rename(file)
            if over.wait(BEAT_SECONDS):
                return

    threading.Thread(target=beat, daemon=True).start()
    return over


class Watch:
    """Whether a file goes on changing, by this process's own clock."""

    def __init__(self, file: Path, silent_seconds: float) -> None:
        self._file, self._silent_seconds = file, silent_seconds
        self._said, self._since = "", time.monotonic()

    def is_silent(self) -> bool:
        """Whether it has not changed for so long, between the times that this was asked."""
        said = ""
        with contextlib.suppress(OSError):
            said = self._file.read_text(encoding="utf-8")
        now = time.monotonic()
        if said != self._said:
            self._said, self._since = said, now
        return now - self._since > self._silent_seconds


# ---- shards ----


def _work_on(task: Path) -> None:
    """Takes shards of a task until there are none left. What goes wrong is told the first rank, which ends all."""
    kernel, todo = _read(task / "task")
    rank = Rank.here().number
    try:
        for number, result in _take_shards(task, rank, kernel, todo):
            _write(task / f"{number}.result", result)
    except Exception as fault:
        traceback.print_exc()
        _write(task / "fault", _sentence(fault, rank))


def _take_shards(folder: Path, rank: int, kernel: Callable[[T], R], todo: Sequence[T]) -> Iterator[tuple[int, R]]:
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


def _sentence(fault: Exception, rank: int) -> HerdError:
    known = as_sentence(fault, f"rank {rank}")
    try:
        pickle.loads(pickle.dumps(known))  # noqa: S301 - our own, made the moment before
        return known
    except Exception:
        return HerdError(str(known))


def _read(file: Path) -> Any:
    return pickle.loads(file.read_bytes())  # noqa: S301 - written by a rank of this run


def _write(file: Path, value: object) -> None:
    partial = file.with_name(file.name + ".partial")
    partial.write_bytes(pickle.dumps(value))
    partial.rename(file)


# ---- ranks ----


def _take_rank(job: str, address: str, port: int) -> None:
    """This process's part, in a process of its own: torch's groups serve one job."""
    told = variables(Rank.here(), address, port) | {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    done = subprocess.run(rank_command(Path(job)), check=False, env=os.environ | told)
    if done.returncode:
        raise TrainingError(f"rank {Rank.here().number} ended with {done.returncode}; its output says why")
