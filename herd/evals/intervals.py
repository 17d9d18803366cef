"""How sure a figure is: intervals for shares and for differences of two models on the same questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Z95 = 1.959964
_DRAWS_AT_ONCE = 1 << 20


class Interval(NamedTuple):
    """A value and the bounds of its 95 % interval; infinite ones where nothing is known of them, as of one example."""

    value: float
    low: float
    high: float

    @property
    def is_bounded(self) -> bool:
        """Whether the bounds say anything."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def __str__(self) -> str:
        return self.words(".3f")

    def words(self, spec: str, unit: str = "example") -> str:
        """Such as `0.500 [0.400, 0.600]`, or `0.500 (one example, no interval)`. spec: how each of the numbers is
        written. unit: what the interval is over."""
        value = format(self.value, spec)
        if not self.is_bounded:
            return f"{value} (one {unit}, no interval)"
        return f"{value} [{format(self.low, spec)}, {format(self.high, spec)}]"

    def within(self, least: float, most: float = math.inf) -> Interval:
        """The same, where its value can be no less than `least` and no more than `most`. Bounds that say nothing stay
        as they are."""
        if not self.is_bounded:
            return self
        return Interval(self.value, max(self.low, min(least, self.value)), min(self.high, max(most, self.value)))


def percentiles(values: Sequence[float] | np.ndarray, share: float = 0.95) -> tuple[float, float]:
    """Between which the middle `share` of resampled values lies."""
    low, high = np.quantile(values, ((1 - share) / 2, (1 + share) / 2))
    return float(low), float(high)


def wald(share: float, count: int) -> float:
    """Half the width of the 95 % interval of a share, as the report prints it. Source: Llama 3, 5.1."""
    return 1.96 * math.sqrt(share * (1 - share) / count)


def wilson(right: float, count: float, z: float = Z95) -> Interval:
    """The share `right / count` with an interval that holds near 0 and 1 too. right: a half for what is half right.
    Source: Wilson 1927."""
    if count == 0:
        return Interval(math.nan, 0.0, 1.0)
    share = right / count
    scale = 1 + z**2 / count
    centre = (share + z**2 / (2 * count)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def paired_gain(before: Sequence[float], after: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> Interval:
    """By how much the share of right answers rose on the same questions, by bootstrap over questions; of
    a single one by Wilson's intervals."""
    if len(before) != len(after):
        raise ValueError(f"{len(before)} answers before and {len(after)} after are not the same questions")
    if len(before) == 1:  # which a bootstrap draws again and again
        return paired_share_gain(before, after)
    differences = np.asarray(after, float) - np.asarray(before, float)
    return bootstrap_mean(differences, resamples=resamples, seed=seed)


def unpaired_gain(before: Interval, after: Interval) -> Interval:
    """By how much a share rose, from Wilson's intervals of both, where questions cannot be paired. Source: Newcombe
    1998, method 10."""
    value = after.value - before.value
    low = math.hypot(after.value - after.low, before.high - before.value)
    high = math.hypot(after.high - after.value, before.value - before.low)
    return Interval(value, value - low, value + high)


def paired_share_gain(
    before: Sequence[float], after: Sequence[float], counts: Sequence[float] | None = None
) -> Interval:
    """By how much a share rose on the same examples, from Wilson's intervals of both and how alike their outcomes are:
    from -1 to 1 however few there are. before, after: how much of each example is right, of its `counts` parts, one
    where absent. Source: Newcombe 1998 (Statistics in Medicine 17, 2635), method 8, with Pearson's correlation as phi.
    """
    was, now = np.asarray(before, float), np.asarray(after, float)
    parts = np.ones(len(was)) if counts is None else np.asarray(counts, float)
    first, last = (wilson(float(right.sum()), float(parts.sum())) for right in (was, now))
    shares = [right / parts for right in (was, now)]
    varies = len(was) > 1 and min(share.std() for share in shares) > 0
    alike = float(np.corrcoef(shares[0], shares[1])[0, 1]) if varies else 0.0
    value = last.value - first.value

    def width(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * alike * one * other + other**2))

    low = value - width(last.value - last.low, first.high - first.value)
    high = value + width(last.high - last.value, first.value - first.low)
    return Interval(value, max(-1.0, low), min(1.0, high))


def student_mean(values: Sequence[float] | np.ndarray, share: float = 0.95) -> Interval:
    """The mean of a few values, such as of seeds, with Student's interval; unbounded for a single one."""
    from scipy.stats import t

    sample = np.asarray(values, float)
    if len(sample) < 2:
        return Interval(float(sample.mean()) if len(sample) else math.nan, -math.inf, math.inf)
    half = float(t.ppf((1 + share) / 2, len(sample) - 1)) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Interval(float(sample.mean()), float(sample.mean()) - half, float(sample.mean()) + half)


def ratio_mean(sums: Sequence[float], counts: Sequence[float], *, least: float = -math.inf) -> Interval:
    """The mean of what lies in clusters of unequal size, such as the tokens of rows, with Student's interval over the
    clusters; unbounded for a single one. least: what no mean can be below. Source: Cochran 1977 (Sampling Techniques),
    6.3."""
    from scipy.stats import t

    totals, sizes = np.asarray(sums, float), np.asarray(counts, float)
    mean, clusters = float(totals.sum() / sizes.sum()), len(sizes)
    if clusters < 2:
        return Interval(mean, -math.inf, math.inf)
    spread = math.sqrt(clusters / (clusters - 1) * float(((totals - mean * sizes) ** 2).sum())) / float(sizes.sum())
    half = float(t.ppf(0.975, clusters - 1)) * spread
    return Interval(mean, mean - half, mean + half).within(least)


def bootstrap_mean(values: Sequence[float] | np.ndarray, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """The mean of `values` with its percentile bootstrap interval. Source: Efron 1979."""
    sample = np.asarray(values, float)
    if len(sample) == 0:
        return Interval(math.nan, -math.inf, math.inf)
    rng = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    at_once = max(1, _DRAWS_AT_ONCE // len(sample))  # the same draws as all at once, in less memory
    for start in range(0, resamples, at_once):
        places = rng.integers(0, len(sample), (min(at_once, resamples - start), len(sample)))
        means.append(sample[places].mean(axis=1))
    return Interval(float(sample.mean()), *percentiles(np.concatenate(means)))
