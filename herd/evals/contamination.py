"""What contamination adds to a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from herd.evals.spread import percentiles


@dataclass(frozen=True)
class Gain:
    """A score with and without contaminated items. threshold: the share of an item that the corpus holds from
    which on it is contaminated. gain: score of all less that of the clean ones; low, high: its 95 % interval."""

    threshold: float
    contaminated_share: float
    score: float
    clean_score: float
    gain: float
    low: float
    high: float


def gains(right: ArrayLike, covered: ArrayLike, thresholds: Sequence[float] = (0.1, 0.2, 0.4, 0.6, 0.8)) -> list[Gain]:
    """The gain at every threshold at which some items are contaminated and some are not.

    right: each item's score, 0 to 1. covered: the share of each item that stands in the training corpus.
    Source: Llama 3, 5.1.4, who report the threshold with the largest significant gain of each set.
    """
    scores, shares = np.asarray(right, np.float64), np.asarray(covered, np.float64)
    found = []
    for threshold in thresholds:
        dirty = shares >= threshold
        if not dirty.any() or dirty.all():
            continue
        values = [float(scores.mean() - scores[~dirty].mean())]
        chance = np.random.default_rng(0)
        for _ in range(1000):
            drawn = chance.integers(0, len(scores), len(scores))
            clean = drawn[~dirty[drawn]]
            if len(clean):
                values.append(float(scores[drawn].mean() - scores[clean].mean()))
        low, high = percentiles(values[1:])
        clean_score = float(scores[~dirty].mean())
        found.append(Gain(threshold, float(dirty.mean()), float(scores.mean()), clean_score, values[0], low, high))
    return found


def chosen(found: Sequence[Gain]) -> Gain | None:
    """The threshold with the largest gain whose interval is above 0; None when there is none."""
    significant = [one for one in found if one.low > 0]
    return max(significant, key=lambda one: one.gain, default=None)
