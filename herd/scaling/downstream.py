"""From training FLOPs to what a model will score: first the right answer's log-likelihood, then accuracy."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from herd.core.errors import DataError
from herd.evals.intervals import percentiles
from herd.scaling.likelihood import Trend, fit_trend
from herd.scaling.results import DownstreamResult, Prediction

FEWEST_ABOVE = 3  # points that must lie this far above chance, or where the curve rises is a guess
_ABOVE = 0.1


@dataclass(frozen=True)
class Sigmoid:
    """accuracy = chance + (top - chance) / (1 + e^(steepness x (nll - middle)))."""

    chance: float
    top: float
    steepness: float
    middle: float

    def at(self, nll: float | NDArray[np.float64]) -> Any:
        return self.chance + (self.top - self.chance) / (1 + np.exp(self.steepness * (np.asarray(nll) - self.middle)))


def fit_sigmoid(
    nll: ArrayLike, accuracy: ArrayLike, questions: ArrayLike, *, chance: float, near: Sigmoid | None = None
) -> Sigmoid:
    """Weighted by each accuracy's standard error; the bottom is fixed at chance and the top at most one.

    near: where to start from; several places are tried when absent. Raises DataError when fewer than three models lie
    .1 above chance: where the curve rises cannot be known. Source: Llama 3, 3.2.1, figure 4; it prints no formula.
    """
    x, y = np.asarray(nll, float), np.asarray(accuracy, float)
    above = int((y > chance + _ABOVE).sum())
    if above < FEWEST_ABOVE:
        raise DataError(
            f"{above} of {len(y)} models are more than {_ABOVE:.0%} above chance ({chance:.0%}); add results of larger "
            "models, of another family too, or forecast the NLL only"
        )
    n = np.asarray(questions, float)
    share = (y * n + 1) / (n + 2)  # an accuracy of one has an error too
    error = np.sqrt(share * (1 - share) / n)
    spread = max(float(np.ptp(x)), 1e-6)

    def residuals(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        errors: NDArray[np.float64] = (Sigmoid(chance, *theta).at(x) - y) / error
        return errors

    starts = [
        (min(1.0, float(y.max()) + 0.02), steep / spread, float(middle))
        for steep, middle in itertools.product((3.0, 10.0, 30.0), np.quantile(x, (0.2, 0.5, 0.8)))
    ]
    low, high = (chance + 0.01, 1e-3, x.min() - 3 * spread), (1.0 + 1e-9, 1e4, x.max() + 3 * spread)
    if near is not None:
        starts = [(near.top, near.steepness, near.middle)]
    fits = [least_squares(residuals, np.clip(start, low, high), bounds=(low, high), x_scale="jac") for start in starts]
    best = min(fits, key=lambda fit: fit.cost)
    return Sigmoid(chance, *(float(parameter) for parameter in best.x))


@dataclass(frozen=True)
class Forecast:
    """What is predicted at some compute: the middle and the 90 % interval of NLL and accuracy.

    orders: of magnitude between the largest run fitted and the target. above: models above chance. chance: as given.
    trend, curve: of the NLL over compute and of accuracy over the NLL, as fitted; resampled: both again for every draw.
    """

    flops: float
    nll: float
    nll_interval: tuple[float, float]
    accuracy: float
    accuracy_interval: tuple[float, float]
    orders: float
    above: int
    chance: float
    trend: Trend
    curve: Sigmoid
    resampled: tuple[tuple[Trend, Sigmoid], ...] = field(repr=False)


def forecast(
    runs: Sequence[DownstreamResult],
    flops: float,
    *,
    chance: float,
    questions: int,
    resamples: int = 200,
    seed: int = 0,
) -> Forecast:
    """What a model of `flops` will score on a task with `questions` questions, which count for the interval.

    runs: those marked `best_size` make the trend of the NLL, all make the sigmoid. The target must not be among them.
    Resampled: the trend's residuals, every accuracy's questions, and the target's own questions.
    """
    if any(run.flops >= flops for run in runs if run.best_size):
        raise DataError(
            "a run of the target's compute or more is among those fitted; forecast further, or leave it out"
        )
    straight = [run for run in runs if run.best_size]
    x, y = np.array([run.flops for run in straight]), np.array([run.nll for run in straight])
    trend = fit_trend(x, y)
    nll, n = np.array([run.nll for run in runs]), np.array([run.questions for run in runs])
    accuracy = np.array([run.accuracy for run in runs])
    curve = fit_sigmoid(nll, accuracy, n, chance=chance)
    rng = np.random.default_rng(seed)
    fitted = np.array([trend.at(value) for value in x])
    residuals = (y - fitted) * math.sqrt(len(x) / max(1, len(x) - 2))
    resampled_nll, resampled_accuracy, resampled = [], [], []
    for _ in range(resamples):
        try:
            new_trend = trend.refit(x, fitted + rng.choice(residuals, len(residuals)))
            new_curve = fit_sigmoid(
                nll, rng.binomial(n, np.clip(curve.at(nll), 0, 1)) / n, n, chance=chance, near=curve
            )
        except DataError:  # a draw without a law
            continue
        new_nll = new_trend.at(flops)
        resampled.append((new_trend, new_curve))
        resampled_nll.append(new_nll)
        share = float(np.clip(new_curve.at(new_nll + rng.choice(residuals)), 0, 1))
        resampled_accuracy.append(rng.binomial(questions, share) / questions)
    return Forecast(
        flops,
        trend.at(flops),
        percentiles(resampled_nll, 0.9),
        float(curve.at(trend.at(flops))),
        percentiles(resampled_accuracy, 0.9),
        math.log10(flops / x.max()),
        int((accuracy > chance + _ABOVE).sum()),
        chance,
        trend,
        curve,
        tuple(resampled),
    )


def forecast_nll(runs: Sequence[DownstreamResult], flops: float, *, resamples: int = 100, seed: int = 0) -> Prediction:
    """The first step alone: nats of the right answer a character at so many FLOPs, and the 90 % interval of what a run
    will be measured at, its own scatter about the trend included.

    Raises DataError for fewer than three runs marked `best_size`, or when their NLL does not fall with compute.
    Source: the prediction interval of regression (Draper and Smith 1998, 3.1), with the trend's variance by residual
    bootstrap: ladders have few budgets, and percentiles of resampled fits alone hold six of ten runs instead of nine.
    """
    from scipy.stats import t

    straight = [run for run in runs if run.best_size]
    x, y = np.array([run.flops for run in straight]), np.array([run.nll for run in straight])
    trend = fit_trend(x, y)
    fitted = np.array([trend.at(value) for value in x])
    freedom = max(1, len(x) - len(dataclasses.fields(trend)))
    residuals = (y - fitted) * math.sqrt(len(x) / freedom)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(resamples):
        with contextlib.suppress(DataError):  # a draw whose NLL does not fall
            draws.append(trend.refit(x, fitted + rng.choice(residuals, len(residuals))).at(flops))
    variance = float(np.var(draws) if draws else 0.0) + float(np.mean(residuals**2))
    middle, half = trend.at(flops), float(t.ppf(0.95, freedom)) * math.sqrt(variance)
    return Prediction(middle, middle - half, middle + half)


@dataclass(frozen=True)
class BackTest:
    """How well the smaller runs predicted the largest. error: accuracy measured less predicted. inside: the
    interval."""

    forecast: Forecast
    measured: float
    error: float
    inside: bool


def back_test(runs: Sequence[DownstreamResult], *, chance: float, seed: int = 0) -> BackTest:
    """Fits all runs but that of the most compute, and predicts that one. Raises DataError when none is of the best
    size, or as `forecast` does."""
    straight = [run for run in runs if run.best_size]
    if not straight:
        raise DataError("no run is of the best size for its compute; widen the ladder's sizes, or mark them best_size")
    largest = max(straight, key=lambda run: run.flops)
    smaller = [run for run in runs if run is not largest]
    prediction = forecast(smaller, largest.flops, chance=chance, questions=largest.questions, seed=seed)
    low, high = prediction.accuracy_interval
    return BackTest(
        prediction, largest.accuracy, largest.accuracy - prediction.accuracy, low <= largest.accuracy <= high
    )


def back_test_line(test: BackTest) -> str:
    """What was predicted of the largest model, and what it scores."""
    low, high = test.forecast.accuracy_interval
    return (
        f"{test.forecast.accuracy:.1%} right predicted at {test.forecast.flops:.1e} FLOPs "
        f"[{low:.1%}, {high:.1%}, 90 %], {test.forecast.orders:.1f} orders of magnitude beyond the others; "
        f"{test.measured:.1%} measured, {'inside' if test.inside else 'outside'} the interval"
    )


# ---- a table of results of one's own ----

_COLUMNS = ("task", "flops", "nll", "accuracy", "questions", "chance")


def read_results(file: Path) -> dict[str, tuple[float, list[DownstreamResult]]]:
    """Chance and runs by task, of a CSV with the columns task, flops, nll (of the right answer, a character), accuracy,
    questions, chance, where it is not 1 best_size, and where it is known loss (of training, nats a token).

    Raises DataError with the line and what is wrong.
    """
    tables: dict[str, tuple[float, list[DownstreamResult]]] = {}
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            table = csv.DictReader(stream)
            if missing := [name for name in _COLUMNS if name not in (table.fieldnames or ())]:
                raise DataError(f"{file}: no column {missing[0]}; the first line must name {', '.join(_COLUMNS)}")
            for line, row in enumerate(table, 2):
                chance, run = _result_of(row, f"{file}:{line}")
                before, runs = tables.setdefault(row["task"], (chance, []))
                if before != chance:
                    raise DataError(f"{file}:{line}: chance of {row['task']} is {chance:g} here and {before:g} above")
                runs.append(run)
    except OSError as fault:
        raise DataError(f"{file} cannot be read: {fault.strerror}; name a CSV of results") from None
    if not tables:
        raise DataError(f"{file} holds no results; give a line for every model and task")
    return tables


def _result_of(row: Mapping[str, str], where: str) -> tuple[float, DownstreamResult]:
    try:
        flops, nll, accuracy, chance = (float(row[name]) for name in ("flops", "nll", "accuracy", "chance"))
        questions = int(row["questions"])
        loss = float(row["loss"]) if row.get("loss") else None
    except (TypeError, ValueError):
        raise DataError(f"{where}: a number is missing or none; {', '.join(_COLUMNS[1:])} are numbers") from None
    if not (flops > 0 and questions > 0 and 0 <= accuracy <= 1 and 0 <= chance < 1):
        raise DataError(f"{where}: flops and questions lie above 0, accuracy and chance within 0 and 1")
    best_size = row.get("best_size", "1") not in ("0", "false", "no")
    return chance, DownstreamResult(flops, nll, accuracy, questions, best_size, loss)


def forecasts(file: Path, flops: float) -> dict[str, tuple[list[DownstreamResult], Forecast | str]]:
    """What a model of so many FLOPs will score on every task of a table of results, or why that cannot be said."""
    by_task: dict[str, tuple[list[DownstreamResult], Forecast | str]] = {}
    for task, (chance, runs) in read_results(file).items():
        try:
            questions = max(run.questions for run in runs)
            by_task[task] = runs, forecast(runs, flops, chance=chance, questions=questions)
        except DataError as fault:
            by_task[task] = runs, str(fault)
    return by_task


def score_lines(results: Mapping[str, tuple[Sequence[DownstreamResult], Forecast | str]]) -> Iterator[str]:
    """A line for every task of `forecasts`."""
    for task, (_, outcome) in results.items():
        if isinstance(outcome, str):
            yield f"{task}: no forecast, {outcome}"
            continue
        low, high = outcome.accuracy_interval
        nll_low, nll_high = outcome.nll_interval
        yield (
            f"{task}: {outcome.accuracy:.1%} right [{low:.1%}, {high:.1%}], answers {outcome.nll:.3f} nats a character "
            f"[{nll_low:.3f}, {nll_high:.3f}], 90 % intervals; {outcome.orders:.1f} orders of magnitude beyond the "
            "largest run"
        )


def forecast_plot(runs: Sequence[DownstreamResult], prediction: Forecast) -> dict[str, Any]:
    """Both steps as a picture wants them: the runs, the line over FLOPs and the sigmoid over NLL, each as (place,
    value, low, high) with 90 % of the draws between the last two, and the target's (middle, low, high)."""
    flops = np.geomspace(min(run.flops for run in runs), float(prediction.flops), 40)
    spread = [run.nll for run in runs] + list(prediction.nll_interval)
    nll = np.linspace(min(spread), max(spread), 60)
    lines = [_trend_line(trend, flops) for trend, _ in prediction.resampled]
    curves = [curve.at(nll) for _, curve in prediction.resampled]
    return {
        "runs": [(run.flops, run.nll, run.accuracy) for run in runs],
        "line": _banded(flops, _trend_line(prediction.trend, flops), lines),
        "curve": _banded(nll, prediction.curve.at(nll), curves),
        "flops": float(prediction.flops),
        "nll": (prediction.nll, *prediction.nll_interval),
        "accuracy": (prediction.accuracy, *prediction.accuracy_interval),
    }


def _trend_line(trend: Trend, flops: NDArray[np.float64]) -> list[float]:
    return [trend.at(point) for point in flops]


def _banded(places: ArrayLike, values: ArrayLike, draws: ArrayLike) -> list[tuple[float, float, float, float]]:
    low, high = np.percentile(np.asarray(draws, float), (5, 95), axis=0)
    columns = (np.asarray(column, float).tolist() for column in (places, values, low, high))
    return list(zip(*columns, strict=True))
