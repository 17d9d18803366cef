"""Laws between compute, tokens, weights and loss: pure functions on numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from herd.core.errors import DataError

FEWEST_POINTS = 4  # below, a parabola has nothing to be wrong about


@dataclass(frozen=True)
class Parabola:
    """loss = bend x² + slope x + level over x = ln(tokens), at one compute budget.

    fit: R². low, high: the range of x it was fitted on.
    """

    bend: float
    slope: float
    level: float
    fit: float
    low: float
    high: float

    @property
    def tokens(self) -> float:
        """Where the loss is least."""
        return math.exp(-self.slope / (2 * self.bend))

    @property
    def loss(self) -> float:
        """The least loss, in the unit of the data."""
        return self.level - self.slope**2 / (4 * self.bend)

    @property
    def is_inside(self) -> bool:
        """Whether there is a minimum, and measured points on both sides of it."""
        return self.bend > 0 and self.low < -self.slope / (2 * self.bend) < self.high

    @property
    def advice(self) -> str:
        """How to extend the sweep so that the least loss lies inside; empty when it does."""
        if self.is_inside:
            return ""
        if self.bend <= 0:
            return "the curve does not bend upwards; add models on both sides, or train each with more steps"
        if -self.slope / (2 * self.bend) >= self.high:
            return "the least loss lies at more tokens; add smaller models"
        return "the least loss lies at fewer tokens; add larger models"

    def at(self, tokens: float) -> float:
        x = math.log(tokens)
        return self.bend * x * x + self.slope * x + self.level


def parabola(tokens: ArrayLike, losses: ArrayLike) -> Parabola:
    """The least-squares parabola of one IsoFLOP curve.

    Raises DataError for fewer than four points. Source: Llama 3, 3.2.1.
    """
    x, y = np.log(np.asarray(tokens, float)), np.asarray(losses, float)
    if len(x) < FEWEST_POINTS:
        raise DataError(f"an IsoFLOP curve of {len(x)} points has no minimum to trust; train {FEWEST_POINTS} sizes")
    # Centred, because ln(tokens) is large and close together.
    middle = x.mean()
    bend, slope, level = np.polyfit(x - middle, y, 2)
    residuals = y - np.polyval((bend, slope, level), x - middle)
    spread = ((y - y.mean()) ** 2).sum()
    return Parabola(
        bend=float(bend),
        slope=float(slope - 2 * bend * middle),
        level=float(level - slope * middle + bend * middle**2),
        fit=float(1 - (residuals**2).sum() / spread) if spread > 0 else 1.0,
        low=float(x.min()),
        high=float(x.max()),
    )


@dataclass(frozen=True)
class PowerLaw:
    """best tokens = factor x flops ^ exponent.

    Source: Llama 3, 3.2.1, where the letter N stands for tokens.
    """

    factor: float
    exponent: float

    def tokens(self, flops: float) -> float:
        return self.factor * flops**self.exponent

    def num_params(self, flops: float) -> float:
        """By C = 6 N D."""
        return flops / (6 * self.tokens(flops))


# The report's figure; its text rounds to 0.29 and 0.53, which misses its own 16.55T tokens by a third.
LLAMA_3 = PowerLaw(factor=0.299, exponent=0.537)


def power_law(flops: ArrayLike, tokens: ArrayLike) -> PowerLaw:
    """Least squares between logarithms. Raises DataError for fewer than two budgets."""
    x, y = np.log(np.asarray(flops, float)), np.log(np.asarray(tokens, float))
    if len(x) < 2:
        raise DataError(f"{len(x)} budgets with a minimum do not make a law; widen the ladder")
    exponent, intercept = np.polyfit(x, y, 1)
    return PowerLaw(float(np.exp(intercept)), float(exponent))


@dataclass(frozen=True)
class Chinchilla:
    """loss(N, D) = floor + a / N^alpha + b / D^beta, for N weights and D tokens.

    Source: Hoffmann et al. 2022, approach 3.
    """

    floor: float = 1.69
    a: float = 406.4
    b: float = 410.7
    alpha: float = 0.34
    beta: float = 0.28

    def loss(self, num_params: float, tokens: float) -> float:
        return self.floor + self.a / num_params**self.alpha + self.b / tokens**self.beta

    @property
    def ratio(self) -> float:
        """The constant G of the optimum."""
        return (self.alpha * self.a / (self.beta * self.b)) ** (1 / (self.alpha + self.beta))

    def best_num_params(self, flops: float) -> float:
        """The weights at which the loss is least when 6 N D = flops."""
        return self.ratio * (flops / 6) ** (self.beta / (self.alpha + self.beta))

    def best_tokens(self, flops: float) -> float:
        return flops / (6 * self.best_num_params(flops))
