"""Ranks that somebody else starts: torchrun or Slurm with one command on every node, or Ray Train."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from herd.core.artifacts import write_whole
from herd.core.errors import SettingsError, TrainingError
from herd.core.executor import Patience, Report
from herd.run.executors import LocalPlace
from herd.run.ranks import Rank, free_port, rank_command, reporting, variables

T = TypeVar("T")
R = TypeVar("R")


class JoinedPlace:
    """Processes that torchrun or Slurm started, all with the same command: the first makes the stages, the others
    wait in `join` for those that want ranks. folder: of the run, on a disk that all nodes see."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "joined"
        self._local = LocalPlace()
        self._given = 0

    @property
    def workers(self) -> int:
        return 1

    def map(self, kernel: Callable[[T], R], shards: Iterable[T]) -> Iterator[R]:
        return self._local.map(kernel, shards)

    def launch(self, job: Path, ranks: int, report: Report, patience: Patience) -> None:
        here = Rank.here()
        if ranks != here.of:
            raise SettingsError(f"the layout wants {ranks} ranks and {here.of} were started; change one of them")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._given += 1
        # A port of the job's own: the launcher's is taken by the launcher.
        meet = os.environ.get("MASTER_ADDR") or socket.gethostbyname(socket.gethostname())
        told = [str(job), meet, free_port()]
        write_whole(self._folder / f"{_token()}-{self._given}.job", json.dumps(told))
        with reporting(job.parent / "ranks", report):
            _take_rank(*told)

    def end(self) -> None:
        """Sends the others home."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / f"{_token()}-end", "")


def join(folder: Path) -> None:
    """What every rank but the first does: takes part in one job after another until the run ends."""
    number = 1
    while True:
        given = folder / "joined" / f"{_token()}-{number}.job"
        if given.exists():
            _take_rank(*json.loads(given.read_text(encoding="utf-8")))
            number += 1
        elif (folder / "joined" / f"{_token()}-end").exists():
            return
        else:
            time.sleep(0.1)


def _token() -> str:
    """Names this start of all ranks: files of an earlier one do not count."""
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "SLURM_JOB_ID", "SLURM_STEP_ID", "MASTER_PORT")
    return hashlib.sha256("/".join(os.environ.get(name, "") for name in names).encode()).hexdigest()[:8]


def _take_rank(job: str, address: str, port: int) -> None:
    """This process's part, in a process of its own: torch's groups serve one job."""
    told = variables(Rank.here(), address, port) | {"TORCHELASTIC_USE_AGENT_STORE": "False"}
    done = subprocess.run(rank_command(Path(job)), check=False, env=os.environ | told)
    if done.returncode:
        raise TrainingError(f"rank {Rank.here().number} ended with {done.returncode}; its output says why")
