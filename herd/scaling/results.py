"""What the scaling law records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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


# ---- tasks ----


@dataclass(frozen=True)
class DownstreamResult:
    """What one model did on one task. flops: of its training. nll: nats of the right answer a character. accuracy:
    share right of `questions`. best_size: trained at the best size for its compute; only such tell how the NLL falls.
    loss: held-out nats a token of its training, where it is known.
    """

    flops: float
    nll: float
    accuracy: float
    questions: int
    best_size: bool = True
    loss: float | None = None


@dataclass(frozen=True)
class Prediction:
    """What is predicted, and the bounds of an interval whose share the reader is told beside it."""

    value: float
    low: float
    high: float

    def holds(self, measured: float) -> bool:
        """Whether the interval holds what was measured."""
        return self.low <= measured <= self.high


@dataclass(frozen=True)
class TaskBackTest:
    """What the ladder's runs without the one of most compute predict of it, beside what it did. flops: its own."""

    flops: float
    accuracy: Prediction
    measured: float
    inside: bool


@dataclass(frozen=True)
class TaskForecast:
    """What the target run is predicted to do on one task, with 90 % intervals. chance: of blind answers. runs: what the
    forecast was made from. nll: nats of the right answer a character, accuracy: share right; None where nothing can be
    said, and then `refusal` says why. orders: of magnitude of FLOPs beyond the largest run. picture: both steps as
    `downstream.forecast_plot` gives them. back_test: None where that is refused."""

    chance: float
    runs: tuple[DownstreamResult, ...]
    nll: Prediction | None = None
    accuracy: Prediction | None = None
    orders: float = 0.0
    refusal: str = ""
    picture: Mapping[str, Any] = field(default_factory=dict)
    back_test: TaskBackTest | None = None


@results.add(version=1)
@dataclass(frozen=True)
class TaskForecasts:
    """What a run of `target_flops` is predicted to do on every task that a ladder's models were asked."""

    target_flops: float
    tasks: Mapping[str, TaskForecast]
