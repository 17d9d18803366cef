"""What the scaling law records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from herd.core.results import results


@dataclass(frozen=True)
class IsoFlopCurve:
    """The models of one compute budget and the parabola through their losses over the log of tokens. num_params: of
    each model. fit: R squared. inside: whether the minimum lies between the sizes trained; advice: what to add where it
    does not."""

    flops: float
    tokens: tuple[float, ...]
    losses: tuple[float, ...]
    num_params: tuple[float, ...]
    parabola: tuple[float, float, float]
    fit: float
    inside: bool
    advice: str
    best_tokens: float | None
    best_loss: float | None


@dataclass(frozen=True)
class PowerLawFit:
    """Best tokens = factor x FLOPs^exponent, and what it says at the target. Intervals, 95 %, are empty where no
    resampled curves had a law."""

    exponent: float
    factor: float
    exponent_interval: tuple[float, float] | tuple[()]
    best_tokens: float
    best_tokens_interval: tuple[float, float] | tuple[()]
    resamples_with_a_law: int


@results.add(version=1)
@dataclass(frozen=True)
class ScalingLaw:
    """How many tokens are best at each compute budget. law: None where fewer than two curves have a minimum inside.
    parametric: the law of all runs as `herd.scaling.parametric` writes it, or why there is none."""

    curves: tuple[IsoFlopCurve, ...]
    law: PowerLawFit | None
    parametric: Mapping[str, Any]
    target_flops: float
