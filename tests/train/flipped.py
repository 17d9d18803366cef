"""A recipe whose only stage trains on two ranks, in one of which a bit of one weight flips.

Only the ranks import torch: the command and the worker that starts them have no use for it.
"""

from __future__ import annotations

from herd.core.artifacts import Scores
from herd.core.settings import settings
from herd.core.stage import Work, stage
from herd.recipes import recipes


@settings
class FlippedSettings:
    """at: the step before which a bit flips in rank 1, once for each layout. once: files that say it has."""

    at: int
    once: str


def _ranks(settings: FlippedSettings) -> int:
    return 2


@stage(paper="-", version=1, ranks=_ranks)
def train_flipped(work: Work, *, settings: FlippedSettings) -> Scores:
    """What came of training with and without the fault."""
    from tests.train.flipping import train_layouts

    train_layouts(work, settings.at, settings.once)
    work.headline = "trained"
    return Scores(work.out)


@recipes.add
def flipped(s: FlippedSettings) -> Scores:
    """One stage on several ranks."""
    return train_flipped(settings=s)
