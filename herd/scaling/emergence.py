"""Whether a task begins at a loss, and which of its metrics say most about compute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr

from herd.core.errors import DataError
from herd.evals.intervals import percentiles

FEWEST_POINTS = 8
_ENDS = 2  # points that must lie on both sides of a threshold


@dataclass(frozen=True)
class Threshold:
    """The loss below which a task is better than chance.

    gain: performance above chance for each nat below it. evidence: how much less the BIC is than that of the best law
    without a threshold; a threshold is preferred above zero. low, high: the middle 95 % over points drawn anew.
    """

    loss: float
    gain: float
    evidence: float
    low: float
    high: float

    @property
    def preferred(self) -> bool:
        return self.evidence > 0


def threshold(
    losses: ArrayLike, performance: ArrayLike, *, chance: float, resamples: int = 300, seed: int = 0
) -> Threshold:
    """Performance is chance above a loss and rises in a straight line below it; against a line and a parabola.

    Raises DataError for fewer than eight models. Source: Du et al. 2024, section 4; estimated here by least squares
    over a grid of thresholds, whose fits are exact, and compared by BIC.
    """
    x, y = np.asarray(losses, float), np.asarray(performance, float) - chance
    if len(x) < FEWEST_POINTS:
        raise DataError(f"{len(x)} models say nothing of a threshold; measure {FEWEST_POINTS} or more")
    loss, gain, residual = _hinge(x, y)
    smooth = min(_bic(_left(x, y, degree), len(x), degree + 2) for degree in (1, 2))
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(x), len(x)) for _ in range(resamples)]
    resampled = [_hinge(x[sample], y[sample])[0] for sample in draws if len(np.unique(x[sample])) >= 2 * _ENDS]
    return Threshold(loss, gain, smooth - _bic(residual, len(x), 3), *percentiles(resampled))


def _hinge(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Threshold, gain and squares left of y = gain x max(0, threshold - x)."""
    inner = np.sort(np.unique(x))
    grid = np.linspace(inner[min(_ENDS - 1, len(inner) - 2)], inner[-min(_ENDS, len(inner) - 1)], 400)
    reach = np.maximum(0.0, grid[:, None] - x[None])
    below = (reach**2).sum(1)
    gain = np.maximum(0.0, (reach * y).sum(1) / np.maximum(below, 1e-12))
    squared_errors = ((y - gain[:, None] * reach) ** 2).sum(1)
    best = int(squared_errors.argmin())
    return float(grid[best]), float(gain[best]), float(squared_errors[best])


def _left(x: NDArray[np.float64], y: NDArray[np.float64], degree: int) -> float:
    return float(((y - np.polyval(np.polyfit(x - x.mean(), y, degree), x - x.mean())) ** 2).sum())


def _bic(squared_error: float, points: int, numbers: int) -> float:
    """numbers: fitted, the noise's size among them."""
    return points * float(np.log(max(squared_error, 1e-12) / points)) + numbers * float(np.log(points))


# ---- metrics ----

TASK_METRICS = ("log_p", "p_choices", "brier", "accuracy")


def task_metrics(log_p_QK: ArrayLike, right_Q: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """What can be said of every question with K choices, higher being better, in order of what each adds.

    log_p_QK: log of the probability of each choice's text; right_Q: which is right. `log_p`: of the right one.
    `p_choices`: its share among the choices. `brier`: minus the squared error of these shares. `accuracy`: 1 where it
    is the likeliest. Source: Schaeffer et al. 2024 (Why has predicting downstream capabilities remained elusive?), 3.
    """
    log_p, right = np.asarray(log_p_QK, float), np.asarray(right_Q, int)
    rows = np.arange(len(right))
    probabilities = np.exp(log_p - log_p.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    one_hot = np.zeros_like(probabilities)
    one_hot[rows, right] = 1.0
    return {
        "log_p": log_p[rows, right],
        "p_choices": probabilities[rows, right],
        "brier": -((one_hot - probabilities) ** 2).sum(1),
        "accuracy": (log_p.argmax(1) == right).astype(float),
    }


def rank_with_compute(flops: ArrayLike, by_model: Mapping[str, ArrayLike]) -> dict[str, float]:
    """For every metric the mean over questions of the rank correlation between its values and compute.

    by_model: metric -> values [models, questions]. A question on which all models agree counts as zero.
    """
    x = np.asarray(flops, float)
    if len(x) < 3:
        raise DataError(f"{len(x)} models have no rank correlation to speak of; measure three or more")
    correlations = {}
    for name, values in by_model.items():
        columns = np.asarray(values, float).T
        per_question = [_rank_correlation(x, column) if np.ptp(column) > 0 else 0.0 for column in columns]
        correlations[name] = float(np.mean(per_question))
    return correlations


def _rank_correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    correlation: Any = spearmanr(x, y)
    return float(correlation.statistic)
