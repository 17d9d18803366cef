"""Whether two models differ, by how much, and how many items it takes to tell."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from herd.evals.intervals import Interval, bootstrap_mean, paired_gain, paired_share_gain, percentiles
from herd.judge.best_of import mean_of_best

RESAMPLES = 2000
POWER, LEVEL = 0.8, 0.05


# ---- averages over groups, samples and votes ----


def macro_mean(
    scores: Sequence[float], groups: Sequence[Hashable], *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean of the groups' mean scores, with its percentile bootstrap interval.

    scores, groups: of every item. Items are drawn anew within each group, as the groups of a benchmark are fixed and
    their items are the sample; of n items n - 1 are drawn, since n draws vary by (n - 1) / n of what they should, which
    many small groups show. A group of one item adds nothing to the width. The bounds are infinite where every group has
    one item. Source: Efron & Tibshirani 1993 (An Introduction to the Bootstrap), 8.4; McCarthy & Snowden 1985 (The
    Bootstrap and Finite Population Sampling) for n - 1.
    """
    values = np.asarray(scores, float)
    members = _members(groups)
    if len(values) != len(groups):
        raise ValueError(f"{len(values)} scores and {len(groups)} groups; give a group to every score")
    if not members:
        return Interval(math.nan, -math.inf, math.inf)
    value = float(np.mean([values[places].mean() for places in members]))
    if max(map(len, members)) == 1:
        return Interval(value, -math.inf, math.inf)
    rng = np.random.default_rng(seed)
    means = np.zeros(resamples)
    for places in members:
        draws = rng.integers(0, len(places), (resamples, max(1, len(places) - 1)))
        means += values[places][draws].mean(axis=1)
    return Interval(value, *percentiles(means / len(members)))


def _members(groups: Sequence[Hashable]) -> list[np.ndarray]:
    places: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    return [np.asarray(rows) for rows in places.values()]


def pass_at_k(samples: Sequence[Sequence[float]], k: int) -> Interval:
    """pass@k with a bootstrap interval over problems. samples: of every problem, its samples' scores, at least k.

    Source: Chen et al. 2021, eq. 1: 1 - C(n - c, k) / C(n, k) for c of n samples right.
    """
    return bootstrap_mean([mean_of_best(scores, scores, k) for scores in samples])


def majority_at_k(votes: Sequence[Sequence[tuple[str, float]]], k: int, *, draws: int = 200) -> Interval:
    """maj@k with a bootstrap interval over problems: how often the answer most of k samples give is right.

    votes: of every problem, what was read out of each sample, and its score; samples without an answer have no vote.
    Where there are more than k samples, the mean over `draws` draws of k, in their order. Ties go to the answer that
    came first. Source: Wang et al. 2023 (self-consistency), 2; Lewkowycz et al. 2022 (Minerva), 2.4.
    """
    means = []
    for number, samples in enumerate(votes):
        if not 0 < k <= len(samples):
            raise ValueError(f"a vote of {k} among {len(samples)} samples")
        if len(samples) == k:
            means.append(majority_score(samples))
            continue
        rng = np.random.default_rng((number, k))
        subsets = (sorted(rng.choice(len(samples), k, replace=False)) for _ in range(draws))
        scores = [majority_score(list(map(samples.__getitem__, subset))) for subset in subsets]
        means.append(float(np.mean(scores)))
    return bootstrap_mean(means)


def majority_score(samples: Sequence[tuple[str, float]]) -> float:
    """The score of the answer that most samples give, the first of those with as many; 0 where none has an answer."""
    counts: dict[str, int] = {}
    for text, _ in samples:
        if text:
            counts[text] = counts.get(text, 0) + 1
    if not counts:
        return 0.0
    winner = max(counts, key=lambda text: counts[text])  # the first inserted of those alike
    return next(score for text, score in samples if text == winner)


# ---- two models on the same items ----


@dataclass(frozen=True)
class PairedTest:
    """Two models on the same items. difference: of the second less the first, with Newcombe's interval where every item
    is right or wrong, which says something of few items too, else by bootstrap. worse,
    better: items on which the second scores less, and more. p_value: of no difference, two-sided: McNemar's exact test
    where every item is right or wrong, else by flipping signs. test: which of them."""

    items: int
    difference: Interval
    worse: int
    better: int
    p_value: float
    test: str

    @property
    def discordant_share(self) -> float:
        """The share of items on which the models differ."""
        return (self.worse + self.better) / self.items if self.items else 0.0


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Whether two models differ on the same items. Raises ValueError where there are none or not as many of each."""
    if not first:
        raise ValueError("two models are compared on no item; give the items that both answered")
    was, now = np.asarray(first, float), np.asarray(second, float)
    worse, better = int((now < was).sum()), int((now > was).sum())
    if set(np.unique(np.concatenate([was, now]))) <= {0.0, 1.0}:
        difference = paired_share_gain(first, second)
        return PairedTest(len(was), difference, worse, better, mcnemar_exact(worse, better), "McNemar, exact")
    return PairedTest(len(was), paired_gain(first, second), worse, better, sign_flip_test(now - was), "sign flips")


def mcnemar_exact(worse: int, better: int) -> float:
    """The two-sided p-value that as many items got worse as better, given how many changed; 1 where none did.

    Source: McNemar 1947; exact by the binomial distribution, as statsmodels' `mcnemar(exact=True)`.
    """
    from scipy.stats import binom

    changed = worse + better
    return 1.0 if changed == 0 else min(1.0, 2 * float(binom.cdf(min(worse, better), changed, 0.5)))


def sign_flip_test(differences: Sequence[float] | np.ndarray, *, flips: int = 10_000, seed: int = 0) -> float:
    """The two-sided p-value that differences are as likely positive as negative: exact up to 12 of them that are not 0,
    else of so many random flips, the one observed among them. Source: Fisher 1935 (The Design of Experiments), 21."""
    values = np.asarray(differences, float)
    values = values[values != 0]
    if len(values) == 0:
        return 1.0
    if len(values) <= 12:
        bits = (np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1
        sums = (1 - 2 * bits) @ values
        return float((np.abs(sums) >= abs(values.sum()) - 1e-12).mean())
    rng = np.random.default_rng(seed)
    extreme = 1  # the one observed
    for _ in range(0, flips, 500):
        signs = 1 - 2 * rng.integers(0, 2, (min(500, flips), len(values)))
        extreme += int((np.abs(signs @ values) >= abs(values.sum()) - 1e-12).sum())
    return extreme / (flips + 1)


# ---- how many items it takes ----


def items_needed(share: float, difference: float, *, power: float = POWER, level: float = LEVEL) -> int:
    """Items that each of two models is asked, other ones each, so that a difference of shares is seen with this power.

    share: right of the first model; `difference` is added to it. Source: Fleiss, Levin & Paik 2003 (Statistical Methods
    for Rates and Proportions), eq. 4.14 without continuity correction; Casagrande et al. 1978. Raises ValueError for a
    difference of 0 or a second share outside 0 to 1.
    """
    other = share + difference
    if difference == 0 or not (0 <= share <= 1 and 0 <= other <= 1):
        raise ValueError(f"no number of items shows a difference of {difference} from {share}; give shares in 0..1")
    of_level, of_power = _normal_quantiles(power, level)
    mean = (share + other) / 2
    spread = of_level * math.sqrt(2 * mean * (1 - mean))
    spread += of_power * math.sqrt(share * (1 - share) + other * (1 - other))
    return math.ceil(round((spread / difference) ** 2, 9))


def paired_items_needed(
    discordant_share: float, difference: float, *, power: float = POWER, level: float = LEVEL
) -> int:
    """Items that two models are both asked, so that a difference of their shares is seen with this power.

    discordant_share: of items that one has right and the other wrong; no less than the difference, which it is set to
    where it is less. Source: Connor 1987 (Biometrics 43, 207), eq. 3. Raises ValueError for a difference of 0 or more
    than 1.
    """
    if not 0 < abs(difference) <= 1:
        raise ValueError(f"no number of items shows a difference of {difference}; give one above 0, up to 1")
    of_level, of_power = _normal_quantiles(power, level)
    changed = min(1.0, max(discordant_share, abs(difference)))
    spread = of_level * math.sqrt(changed) + of_power * math.sqrt(changed - difference**2)
    return math.ceil(round((spread / difference) ** 2, 9))


def _normal_quantiles(power: float, level: float) -> tuple[float, float]:
    from scipy.stats import norm

    return float(norm.ppf(1 - level / 2)), float(norm.ppf(power))
