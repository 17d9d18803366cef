"""How sure a figure is: intervals for shares and for differences of two models on the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Z95 = 1.959964


class Interval(NamedTuple):
    """A value and the bounds of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def percentiles(values: Sequence[float] | np.ndarray, share: float = 0.95) -> tuple[float, float]:
    """Between which the middle `share` of resampled values lies."""
    low, high = np.quantile(values, ((1 - share) / 2, (1 + share) / 2))
    return float(low), float(high)


def wald(share: float, count: int) -> float:
    """Half the width of the 95 % interval of a share, as the report prints it. Source: Llama 3, 5.1."""
    return 1.96 * math.sqrt(share * (1 - share) / count)


def wilson(right: int, count: int, z: float = Z95) -> Interval:
    """The share `right / count` with an interval that holds near 0 and 1 too. Source: Wilson 1927."""
    if count == 0:
        return Interval(math.nan, 0.0, 1.0)
    share = right / count
    scale = 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def paired_gain(before: Sequence[float], after: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> Interval:
    """By how much the share of right answers rose on the same questions, by bootstrap over questions."""
    if len(before) != len(after):
        raise ValueError(f"{len(before)} answers before and {len(after)} after are not the same questions")
    differences = np.asarray(after, float) - np.asarray(before, float)
    return bootstrap_mean(differences, resamples=resamples, seed=seed)


def unpaired_gain(before: Interval, after: Interval) -> Interval:
    """By how much a share rose, from Wilson's intervals of both, where questions cannot be paired. Source: Newcombe
    1998, method 10."""
    value = after.value - before.value
    low = math.hypot(after.value - after.low, before.high - before.value)
    high = math.hypot(after.high - after.value, before.value - before.low)
    return Interval(value, value - low, value + high)


def student_mean(values: Sequence[float] | np.ndarray, share: float = 0.95) -> Interval:
    """The mean of a few values, such as of seeds, with Student's interval; unbounded for a single one."""
    from scipy.stats import t

    sample = np.asarray(values, float)
    if len(sample) < 2:
        return Interval(float(sample.mean()) if len(sample) else math.nan, -math.inf, math.inf)
    half = float(t.ppf((1 + share) / 2, len(sample) - 1)) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Interval(float(sample.mean()), float(sample.mean()) - half, float(sample.mean()) + half)


def ratio_mean(sums: Sequence[float], counts: Sequence[float]) -> Interval:
    """The mean of what lies in clusters of unequal size, such as the tokens of rows, with Student's interval over the
    clusters; no width for a single one. Source: Cochran 1977 (Sampling Techniques), 6.3."""
    from scipy.stats import t

    totals, sizes = np.asarray(sums, float), np.asarray(counts, float)
    mean, clusters = float(totals.sum() / sizes.sum()), len(sizes)
    if clusters < 2:
        return Interval(mean, mean, mean)
    spread = math.sqrt(clusters / (clusters - 1) * float(((totals - mean * sizes) ** 2).sum())) / float(sizes.sum())
    half = float(t.ppf(0.975, clusters - 1)) * spread
    return Interval(mean, mean - half, mean + half)


def bootstrap_mean(values: Sequence[float] | np.ndarray, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of `values` with its percentile bootstrap interval. Source: Efron 1979."""
    sample = np.asarray(values, float)
    if len(sample) == 0:
        return Interval(math.nan, -math.inf, math.inf)
    rng = np.random.default_rng(seed)
    means = sample[rng.integers(0, len(sample), (resamples, len(sample)))].mean(axis=1)
    return Interval(float(sample.mean()), *percentiles(means))
