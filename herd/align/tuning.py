"""What every kind of fine-tuning does: adapters if wanted, AdamW, a cosine, the loop, and one whole model again."""

from __future__ import annotations

import math
from typing import Any, Protocol, TypeVar

from torch import nn

from herd.core.stage import Work
from herd.train.alone import Loss, Splittable
from herd.train.checkpoint import TrainState
from herd.train.log import Step
from herd.train.loop import Batches, train
from herd.train.lora import LoraSettings, adapt, merge
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.schedule import cosine

B = TypeVar("B", bound=Splittable)

_BY_SIZE = math.log(5e-4 / 1e-5) / math.log(405e9 / 1e6)


class Tuning(Protocol):
    """Settings that stages of fine-tuning have in common."""

    @property
    def peak_rate(self) -> float | None: ...
    @property
    def warmup_share(self) -> float: ...
    @property
    def final_share(self) -> float: ...
    @property
    def lora(self) -> LoraSettings | None: ...
    @property
    def optimizer(self) -> AdamWSettings: ...
    @property
    def seed(self) -> int: ...


def rate_by_size(weights: int) -> float:
    """The peak learning rate of fine-tuning where none is named: 1e-5 at 405 billion weights (Llama 3, 4.1.3), 5e-4 at
    a million (`tiny`), and a power law through these two: 1.1e-4 at 135 million, 3.3e-5 at 8 billion. No more than a
    start: with adapters, or much larger batches, try several times as much."""
    return 1e-5 * (405e9 / weights) ** _BY_SIZE


def tune(
    work: Work, model: Any, batches: Batches[B], *, loss: Loss[B], settings: Tuning, trunk: nn.Module | None = None
) -> list[Step]:
    """Trains `model` in place and returns a record of every step. trunk: the part that adapters stand in; all of it
    when absent."""
    peak = settings.peak_rate or rate_by_size(sum(one.numel() for one in model.parameters()))
    work.figure("peak_rate", peak)
    rate = cosine(len(batches), peak=peak, warmup_share=settings.warmup_share, final_share=settings.final_share)
    adapt(trunk or model, settings.lora, seed=settings.seed)
    state = TrainState(model, adamw(model, settings.optimizer))
    steps = train(work, state, batches, loss=loss, rate=rate, clip=settings.optimizer.clip)
    merge(model)
    return steps
