"""What every kind of fine-tuning does: adapters if wanted, AdamW, a schedule, and the loop, on as many ranks as the
settings say."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from herd.core.stage import Work
from herd.train.alone import Loss, Splittable
from herd.train.log import Step
from herd.train.loop import Batches, train
from herd.train.schedule import lr_by_size
from herd.train.settings import FinetuneSettings
from herd.train.start import Started, load_for_training

B = TypeVar("B", bound=Splittable)


def prepare(work: Work, folder: Path, settings: FinetuneSettings, *, reward: bool = False) -> Started:
    """The model in `folder`, to be fine-tuned; adapters beside it where the settings have some."""
    return load_for_training(work, folder, settings=settings, reward=reward, lora=settings.lora)


def finetune(
    work: Work, made: Started, batches: Batches[B], *, loss: Loss[B], settings: FinetuneSettings
) -> tuple[list[Step], float]:
    """Trains the model in place and returns a record of every step, and the peak learning rate."""
    lr = settings.lr or lr_by_size(made.shape.weights)
    steps = train(
        work,
        made.state,
        batches,
        loss=loss,
        rate=settings.lr_schedule(len(batches), lr=lr),
        clip=settings.optimizer.max_grad_norm,
        guard=settings.guard,
        hands=made.hands,
        micro_batch=settings.micro_batch,
    )
    return steps, lr
