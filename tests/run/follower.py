"""What a rank of a test does that is not the first: `python -m tests.run.follower FOLDER SILENT_SECONDS`. And what is
mapped over shards."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from herd.core.errors import DataError, HerdError
from herd.run.launcher import work_for_leader


@dataclass(frozen=True)
class Shard:
    """A number, and the folder where ranks wait for each other."""

    number: int
    folder: Path


def double(shard: Shard) -> tuple[int, str]:
    """Twice the number, and the rank that found it; each goes on when the other has come, so that both have some."""
    rank = os.environ["RANK"]
    (shard.folder / f"at-work-{rank}").touch()
    wait_for(shard.folder / f"at-work-{1 - int(rank)}")
    return 2 * shard.number, rank


def breaks(shard: Shard) -> int:
    return _but_in_the_second(shard, "refuse")


def breaks_off(shard: Shard) -> int:
    return _but_in_the_second(shard, "fail")


def dies(shard: Shard) -> int:
    return _but_in_the_second(shard, "die")


def _but_in_the_second(shard: Shard, how: str) -> int:
    if os.environ["RANK"] == "0":
        wait_for(shard.folder / "taken")
        return shard.number
    (shard.folder / "taken").touch()
    if how == "refuse":
        raise DataError("the page has no text; add some")
    if how == "fail":
        raise KeyError("oops")
    os.kill(os.getpid(), 9)
    return 0


def wait_for(file: Path) -> None:
    while not file.exists():
        time.sleep(0.02)


if __name__ == "__main__":
    try:
        work_for_leader(Path(sys.argv[1]), float(sys.argv[2]))
    except HerdError as fault:
        raise SystemExit(str(fault)) from None
