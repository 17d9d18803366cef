"""How the right answer's negative log-likelihood falls with training FLOPs: a line, or a power law with a floor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from herd.core.errors import DataError

_FEWEST_FOR_A_FLOOR = 5  # runs: three numbers are fitted, and their fit has to show


class Trend(Protocol):
    """What NLL is expected of a model trained with so many FLOPs: a dataclass of the numbers fitted."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def at(self, flops: float) -> float: ...

    def refit(self, flops: ArrayLike, nll: ArrayLike) -> Trend:
        """The same form on other runs. Raises DataError when they have none."""
        ...


@dataclass(frozen=True)
class LinearTrend:
    """nll = level + slope x log10(flops). Source: Llama 3, 3.2.1, figure 4."""

    level: float
    slope: float

    def at(self, flops: float) -> float:
        return self.level + self.slope * math.log10(flops)

    def refit(self, flops: ArrayLike, nll: ArrayLike) -> LinearTrend:
        return fit_line(flops, nll)


@dataclass(frozen=True)
class PowerLawTrend:
    """nll = floor + scale x (flops / 1e20)^-exponent. Source: Hoffmann et al. 2022, eq. 2, over compute alone."""

    floor: float
    scale: float
    exponent: float

    def at(self, flops: float) -> float:
        return self.floor + self.scale * (flops / 1e20) ** -self.exponent

    def refit(self, flops: ArrayLike, nll: ArrayLike) -> PowerLawTrend:
        return fit_power_law(flops, nll, starts=(self.exponent,))


def fit_trend(flops: ArrayLike, nll: ArrayLike) -> Trend:
    """The line, or the power law where Akaike's criterion prefers it to the line.

    Raises DataError for fewer than three runs, or when the NLL does not fall with compute.
    """
    line = fit_line(flops, nll)
    if len(np.asarray(flops)) < _FEWEST_FOR_A_FLOOR:
        return line
    law = fit_power_law(flops, nll)
    return law if _criterion(law, 3, flops, nll) < _criterion(line, 2, flops, nll) else line


def _criterion(trend: Trend, numbers: int, flops: ArrayLike, nll: ArrayLike) -> float:
    """Akaike's, up to a constant: n log(squared residuals / n) + 2 numbers fitted."""
    y = np.asarray(nll, float)
    residuals = y - np.array([trend.at(value) for value in np.asarray(flops, float)])
    # What a line misses by rounding alone is nothing to prefer another form for.
    return len(y) * math.log(max(float(np.mean(residuals**2)), 1e-16)) + 2 * numbers


def fit_line(flops: ArrayLike, nll: ArrayLike) -> LinearTrend:
    """Least squares. Raises DataError for fewer than three runs, or when the NLL does not fall with compute."""
    x, y = np.log10(np.asarray(flops, float)), np.asarray(nll, float)
    if len(x) < 3 or np.ptp(x) < 1e-9:
        raise DataError(f"{len(x)} runs at {len(set(x.tolist()))} budgets make no line; train three budgets or more")
    slope, level = np.polyfit(x, y, 1)
    if slope >= 0:
        raise DataError(
            "the answers' NLL does not fall with compute here; widen the budgets, or the task is not learnt"
        )
    return LinearTrend(float(level), float(slope))


def fit_power_law(flops: ArrayLike, nll: ArrayLike, starts: tuple[float, ...] = (0.03, 0.1, 0.3, 0.6)) -> PowerLawTrend:
    """Least squares with a floor of at least 0. starts: exponents to start from."""
    x, y = np.log10(np.asarray(flops, float) / 1e20), np.asarray(nll, float)

    def residuals(theta: NDArray[np.float64]) -> NDArray[np.float64]:
        errors: NDArray[np.float64] = theta[0] + np.exp(theta[1] - theta[2] * x * math.log(10)) - y
        return errors

    # No lower than 0, no higher than what was reached, and falling.
    bounds = ([0.0, -30.0, 1e-4], [max(float(y.min()), 1e-6), 30.0, 5.0])
    fits = [
        least_squares(residuals, [0.5 * bounds[1][0], math.log(max(float(np.median(y)), 1e-6)), start], bounds=bounds)
        for start in starts
    ]
    floor, level, exponent = min(fits, key=lambda fit: fit.cost).x
    return PowerLawTrend(float(floor), math.exp(float(level)), float(exponent))
