"""A recipe whose only stage is made by several ranks together; run by file, as a user's own would be.

Its stage imports torch when it runs: the worker that only starts the ranks has no use for it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

from herd.core.artifacts import Scores
from herd.core.errors import DataError, StoppedError
from herd.core.settings import settings
from herd.core.stage import Work, stage
from herd.recipes import recipes
from herd.run.processes import stop_requested


@settings
class RankedSettings:
    """ranks: how many. fault: what goes wrong in one of them. once: a file that says it has gone wrong already."""

    ranks: int = 2
    fault: str = ""
    once: str = ""


def _ranks(settings: RankedSettings) -> int:
    return settings.ranks


@stage(paper="-", version=1, ranks=_ranks)
def add_up(work: Work, *, settings: RankedSettings) -> Scores:
    """The sum of all ranks' numbers."""
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    total = torch.tensor(dist.get_rank() + 1)
    dist.all_reduce(total)
    work.progress(1, 2, "added")
    if settings.fault and dist.get_rank() == 1:
        go_wrong(settings)
    while settings.fault in ("wait", "save") and not stop_requested():
        time.sleep(0.02)
    if settings.fault == "save":
        raise StoppedError("asked to end")
    dist.all_reduce(total)
    told = [None] * dist.get_world_size()
    dist.all_gather_object(told, os.environ["LOCAL_RANK"])
    (work.out / "scores.json").write_text(json.dumps({"total": int(total), "ranks": told}))
    work.headline = f"{int(total)}"
    dist.barrier()
    dist.destroy_process_group()
    return Scores(work.out)


def go_wrong(settings: RankedSettings) -> None:
    once = Path(settings.once)
    if settings.fault == "refuse":
        raise DataError("the second rank has nothing to add; give it some")
    if once.name and once.exists():
        return
    if settings.fault == "die":
        once.touch()
        os.kill(os.getpid(), 9)
    if settings.fault == "freeze":
        once.touch()
        os.kill(os.getpid(), 19)
    if settings.fault == "hang":  # the thread that beats goes on
        once.touch()
        threading.Event().wait()
    if settings.fault == "spin":
        once.touch()
        while True:
            pass


@recipes.add
def ranked(s: RankedSettings) -> Scores:
    """One stage on several ranks."""
    return add_up(settings=s)
