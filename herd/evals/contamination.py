"""What contamination adds to a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from herd.evals.intervals import percentiles


@dataclass(frozen=True)
class ContaminationGain:
    """A score with and without contaminated items. threshold: the share of an item that the corpus holds from
    which on it is contaminated. gain: score of all less that of the clean ones; low, high: its 95 % interval."""

    threshold: float
    contaminated_share: float
    score: float
    clean_score: float
    gain: float
    low: float
    high: float


def contamination_gains(
    right: ArrayLike, covered: ArrayLike, thresholds: Sequence[float] = (0.1, 0.2, 0.4, 0.6, 0.8)
) -> list[ContaminationGain]:
    """The gain at every threshold at which some items are contaminated and some are not.

    right: each item's score, 0 to 1. covered: the share of each item that stands in the training corpus.
    Source: Llama 3, 5.1.4, who report the threshold with the largest significant gain of each set.
    """
    scores, shares = np.asarray(right, np.float64), np.asarray(covered, np.float64)
    results = []
    for threshold in thresholds:
        dirty = shares >= threshold
        if not dirty.any() or dirty.all():
            continue
        values = [float(scores.mean() - scores[~dirty].mean())]
        rng = np.random.default_rng(0)
        for _ in range(1000):
            resample = rng.integers(0, len(scores), len(scores))
            clean = resample[~dirty[resample]]
            if len(clean):
                values.append(float(scores[resample].mean() - scores[clean].mean()))
        low, high = percentiles(values[1:])
        clean_score = float(scores[~dirty].mean())
        results.append(
            ContaminationGain(threshold, float(dirty.mean()), float(scores.mean()), clean_score, values[0], low, high)
        )
    return results


def largest_significant_gain(gains: Sequence[ContaminationGain]) -> ContaminationGain | None:
    """The threshold with the largest gain whose interval is above 0; None when there is none."""
    significant = [gain for gain in gains if gain.low > 0]
    return max(significant, key=lambda gain: gain.gain, default=None)
