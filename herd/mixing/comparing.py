"""Runs on mixes, held against each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import DataError
from herd.evals.intervals import percentiles, student_mean
from herd.mixing.proxies import EvalPoint, LossCurve
from herd.mixing.results import MethodScore, MixPrediction, MixSearch, MixTrial, SearchCost

_ValueT = TypeVar("_ValueT")
_KeyT = TypeVar("_KeyT", bound=Hashable)


@dataclass(frozen=True)
class Trial:
    """One run on a mix: `label` is the method with the settings that tell it from others."""

    label: str
    seed: int
    flops: float
    shares: Mapping[str, float]
    epochs: Mapping[str, float]
    curve: LossCurve

    @classmethod
    def of(cls, trial: MixTrial) -> Self:
        points = [EvalPoint(point.tokens, point.losses) for point in trial.points]
        return cls(label_of(trial), trial.seed, trial.flops, trial.shares, trial.epochs, LossCurve(points))


def label_of(mix: MixTrial | MixSearch) -> str:
    """How a method is called in tables; `fixed_weights` go by their label, DoGE's two forms by theirs."""
    chosen = mix.settings
    return str(chosen.get("label") or " ".join([mix.method, *[str(chosen[k]) for k in ("form",) if k in chosen]]))


def compare_trials(trials: Sequence[Trial], *, control: str) -> list[MethodScore]:
    """A row for every method: losses, gains over the control with 95 % intervals over seeds, tokens to its loss.

    gain: the control's mean loss less the method's, with the same seed, in nats. tokens: to the control's last loss,
    as a share of the tokens it took, the median over seeds; absent where most seeds never got there.
    Raises DataError when a seed of a method has no control.
    """
    by_label: dict[str, dict[int, Trial]] = {}
    for trial in trials:
        by_label.setdefault(trial.label, {})[trial.seed] = trial
    if control not in by_label:
        raise DataError(f"no run is called {control!r}; the control must be one of {', '.join(by_label)}")
    against = by_label[control]
    rows = []
    for label, runs in by_label.items():
        if lonely := set(runs) - set(against):
            raise DataError(f"{label} was run with seed {min(lonely)}, {control} was not; give both the same seeds")
        mean = [runs[seed].curve.last.mean for seed in runs]
        worst = [runs[seed].curve.last.worst for seed in runs]
        gains = [against[seed].curve.last.mean - runs[seed].curve.last.mean for seed in runs]
        reached = [runs[seed].curve.tokens_to(against[seed].curve.last.mean) for seed in runs]
        parts = [
            None if tokens is None else tokens / against[seed].curve.last.tokens
            for seed, tokens in zip(runs, reached, strict=True)
        ]
        reached_parts = sorted(part for part in parts if part is not None)
        rows.append(
            MethodScore(
                method=label,
                seeds=len(runs),
                mean=float(np.mean(mean)),
                worst=float(np.mean(worst)),
                gain=student_mean(gains),
                tokens=float(np.median(reached_parts)) if 2 * len(reached_parts) > len(parts) else None,
                got_there=len(reached_parts),
                shares=mean_of_rows([trial.shares for trial in runs.values()]),
                epochs=max(max(trial.epochs.values()) for trial in runs.values()),
                by_source=mean_of_rows([trial.curve.last.losses for trial in runs.values()]),
            )
        )
    return rows


def search_costs(searches: Sequence[MixSearch]) -> list[SearchCost]:
    """What each method's searches came to: shares with their spread over seeds and over sizes of the proxy, FLOPs, and
    what a step of it costs in steps of plain training."""
    rows = []
    for label, group in _grouped(searches, label_of).items():
        by_size = _grouped(group, lambda search: search.proxy_params)
        sizes = sorted(by_size)
        shares_of_sizes = [_shares_of(by_size[size]) for size in sizes]
        means = [mean_of_rows(shares) for shares in shares_of_sizes]
        steps = [search.seconds / search.baseline_seconds for search in group if search.baseline_seconds]
        rows.append(
            SearchCost(
                method=label,
                shares=mean_of_rows(_shares_of(group)),
                flops=float(np.mean([search.flops for search in group])),
                over_seeds=max(map(_spread_of, shares_of_sizes)) if len(shares_of_sizes[0]) > 1 else None,
                over_sizes=max(_spread_of(means), 0.0) if len(means) > 1 else None,
                sizes=tuple(sizes),
                times_plain=float(np.median(steps)) if steps else None,
            )
        )
    return rows


def _grouped(values: Iterable[_ValueT], key: Callable[[_ValueT], _KeyT]) -> dict[_KeyT, list[_ValueT]]:
    """Values with the same key together, keys and values in the order they come."""
    groups: dict[_KeyT, list[_ValueT]] = {}
    for value in values:
        groups.setdefault(key(value), []).append(value)
    return groups


def _shares_of(searches: Sequence[MixSearch]) -> list[Mapping[str, float]]:
    return [search.shares for search in searches]


def mean_of_rows(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each column; all rows have those of the first."""
    return {name: float(np.mean(_column(rows, name))) for name in rows[0]}


def _spread_of(rows: Sequence[Mapping[str, float]]) -> float:
    """The largest standard deviation of a source's share."""
    return max(float(np.std(_column(rows, name), ddof=1)) for name in rows[0]) if len(rows) > 1 else 0.0


def _column(rows: Sequence[Mapping[str, float]], name: str) -> list[float]:
    return [row[name] for row in rows]


def upsampling_gains(
    trials: Sequence[MixTrial], domains: Sequence[str]
) -> dict[str, list[tuple[float, float, float, float]]]:
    """For `domains` and `others`: (part of the end, gain, low, high) over the runs without such a part.

    Raises DataError when these are missing, or a seed of them is.
    """
    ends = sorted({trial.late_share for trial in trials})
    by_end: dict[float, dict[int, Mapping[str, float]]] = {end: {} for end in ends}
    for trial in trials:
        by_end[trial.late_share][trial.seed] = trial.points[-1].losses
    if ends[0] != 0 or any(set(runs) - set(by_end[0.0]) for runs in by_end.values()):
        raise DataError("upsampling is judged against runs without it, of the same seeds; add 0 to the parts tried")
    sources = list(next(iter(by_end[0.0].values())))
    if unknown := set(domains) - set(sources):
        raise DataError(f"{', '.join(sorted(unknown))} are not among the sources mixed: {', '.join(sources)}")
    groups = {"domains": list(domains), "others": [name for name in sources if name not in domains]}
    curves: dict[str, list[tuple[float, float, float, float]]] = {}
    for group, names in groups.items():
        curves[group] = []
        for end, runs in by_end.items():
            gain = student_mean([_mean_gain(by_end[0.0][seed], losses, names) for seed, losses in runs.items()])
            curves[group].append((end, gain.value, gain.low, gain.high))
    return curves


def _mean_gain(control: Mapping[str, float], losses: Mapping[str, float], sources: Sequence[str]) -> float:
    """By how much losses lie below the control's, the mean over `sources`."""
    return float(np.mean([control[name] - losses[name] for name in sources]))


# ---- forecasts of mixes ----


def forecast_losses(
    small: Sequence[Trial], large: Sequence[Trial], *, target_flops: float | None = None, resamples: int = 500
) -> list[MixPrediction]:
    """For every mix and source a line of the log of its loss over the log of FLOPs, read off at the mix's large runs,
    or for every mix of the small runs at `target_flops` where there are none; the mean over the sources.

    A source's slopes over the mixes are drawn towards their mean by as much as their scatter is noise. The losses are
    those of fixed held-out text of every source, so that mixes may be compared. Raises DataError for fewer than three
    budgets, or a mix without small runs. Source: Llama 3, 3.1.2 and 3.2.1. Differs: the report says nothing of slopes,
    and forecasts benchmarks.
    """
    targets = _grouped(large, lambda trial: trial.label)
    if not large:
        targets = {trial.label: [] for trial in small}
    for label in targets:
        budgets = {round(math.log10(trial.flops), 1) for trial in small if trial.label == label}
        if len(budgets) < 3:
            raise DataError(f"mix {label} was run at {len(budgets)} budgets; a line wants three or more")
    if target_flops is None and not large:
        raise DataError("nothing says how large a run is forecast; give target_flops, or runs of that size")
    at = {label: _mean_flops(runs) if runs else target_flops or 0.0 for label, runs in targets.items()}
    by_seed = _grouped(small, lambda trial: trial.seed)
    rng = np.random.default_rng(0)
    middle = _read_off(small, at)
    resampled = np.array([_read_off(_resample_seeds(by_seed, rng), at) for _ in range(resamples)])
    return [
        MixPrediction(
            label, float(middle[number]), percentiles(resampled[:, number]), _mean_loss(runs) if runs else None
        )
        for number, (label, runs) in enumerate(targets.items())
    ]


def _resample_seeds(by_seed: Mapping[int, list[Trial]], rng: np.random.Generator) -> list[Trial]:
    """The runs of as many seeds as there are, drawn with replacement."""
    seeds = sorted(by_seed)
    return list(itertools.chain.from_iterable(by_seed[seed] for seed in rng.choice(seeds, len(seeds))))


def _mean_flops(runs: Sequence[Trial]) -> float:
    return float(np.mean([run.flops for run in runs]))


def _mean_loss(runs: Sequence[Trial]) -> float:
    return float(np.mean([run.curve.last.mean for run in runs]))


def _read_off(small: Sequence[Trial], flops: Mapping[str, float]) -> NDArray[np.float64]:
    """The mean loss of each mix at so many FLOPs by the lines through the small runs."""
    by_label = {label: _runs_of(label, small) for label in flops}
    x = {label: _log_flops(runs) for label, runs in by_label.items()}
    predictions = []
    for source in small[0].curve.last.losses:
        y = {label: _log_losses(runs, source) for label, runs in by_label.items()}
        slopes = _shrink_slopes([_slope(x[label], y[label]) for label in flops])
        ahead = [math.log10(flops[label]) - x[label].mean() for label in flops]
        predictions.append(
            [y[label].mean() + slope * distance for label, slope, distance in zip(flops, slopes, ahead, strict=True)]
        )
    return np.exp(predictions).mean(0)


def _runs_of(label: str, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.label == label]


def _log_flops(runs: Sequence[Trial]) -> NDArray[np.float64]:
    return np.array([math.log10(run.flops) for run in runs])


def _log_losses(runs: Sequence[Trial], source: str) -> NDArray[np.float64]:
    return np.log([run.curve.last.losses[source] for run in runs])


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Of the line of least squares, and its variance."""
    apart = x - x.mean()
    slope = float((apart * y).sum() / (apart**2).sum())
    residuals = y - y.mean() - slope * apart
    return slope, float((residuals**2).sum() / max(1, len(x) - 2) / (apart**2).sum())


def _shrink_slopes(fits: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """Slopes, each as near to their mean as its scatter is noise: what is left of their variance without the noise is
    their own (empirical Bayes by moments; every slope is taken to be as noisy as the mean one)."""
    slopes, noise = np.array([slope for slope, _ in fits]), float(np.mean([variance for _, variance in fits]))
    spread = float(slopes.var(ddof=1)) if len(slopes) > 1 else 0.0
    own = max(0.0, 1.0 - noise / spread) if spread else 0.0
    return slopes.mean() + own * (slopes - slopes.mean())


def rank_agreement(forecasts: Sequence[MixPrediction]) -> float:
    """Spearman's rank correlation of predicted and measured losses. Raises DataError for fewer than three mixes that
    were measured."""
    from scipy.stats import spearmanr  # takes most of a second, which planning has no use for

    pairs = [(forecast.loss, forecast.measured) for forecast in forecasts if forecast.measured is not None]
    if len(pairs) < 3:
        raise DataError(f"{len(pairs)} mixes have no order to agree on; try five or more")
    agreement: Any = spearmanr([predicted for predicted, _ in pairs], [measured for _, measured in pairs])
    return float(agreement.statistic)
