"""What the growth of a context records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from herd.core.results import results
from herd.evals.intervals import Interval
from herd.evals.results import NeedleCell


@dataclass(frozen=True)
class ShortLosses:
    """Nats a token of every source on held-out rows of `length`, with intervals over rows. weights: of the mix in
    which the sources are weighed together."""

    length: int
    losses: Mapping[str, Interval]
    weights: Mapping[str, float]

    @property
    def mean(self) -> float:
        total = sum(self.weights[name] for name in self.losses)
        return sum(self.weights[name] * interval.value for name, interval in self.losses.items()) / total

    def worse(self, now: ShortLosses, tolerance: float) -> list[str]:
        """The sources that are not predicted as well as before: whose loss rose by more than `tolerance`, a share, and
        out of its interval; and `all` when their mean rose by more."""
        over = [
            name
            for name, was in self.losses.items()
            if now.losses[name].value > max(was.value * (1 + tolerance), was.high)
        ]
        return over + ["all"] * (now.mean > self.mean * (1 + tolerance))


@dataclass(frozen=True)
class GateResult:
    """How a gate was met. min_recall: the share of needles that every cell had to find; recall: the lowest
    that one did.
    missed: cells below, as (length, depth). worse: sources predicted worse than before the last switch."""

    min_recall: float
    recall: float
    missed: tuple[tuple[int, float], ...]
    worse: tuple[str, ...]
    passed: bool


@results.add(version=1)
@dataclass(frozen=True)
class ContextExtension:
    """Which context was asked for (target) and which the model has (length), whether it was switched to, and how both
    gates went: `switch` before training, `gate` after. short_baseline: short losses as they were before the last
    switch; short_after: of the same rows now."""

    target: int
    length: int
    switched: bool
    switch: GateResult
    needle_before: tuple[NeedleCell, ...]
    needle: tuple[NeedleCell, ...]
    gate: GateResult
    short_baseline: ShortLosses
    short_after: ShortLosses
