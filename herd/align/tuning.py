"""What every kind of fine-tuning does: adapters if wanted, an optimizer, a schedule, and the loop, on as many ranks as
the settings say."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from herd.core.stage import Work
from herd.evals.validation import Validation
from herd.train.log import Step
from herd.train.loop import Batches, train
from herd.train.schedule import lr_by_size
from herd.train.session import TrainingSession, load_for_training
from herd.train.settings import FinetuneSettings
from herd.train.single_device import LossFn, Splittable

TuningBatch = TypeVar("TuningBatch", bound=Splittable)


def load_for_finetuning(
    work: Work, folder: Path, settings: FinetuneSettings, *, reward: bool = False
) -> TrainingSession:
    """The model in `folder`, to be fine-tuned; adapters beside it where the settings have some."""
    return load_for_training(work, folder, settings=settings, reward=reward, lora=settings.lora)


def finetune(
    work: Work,
    trainable: TrainingSession,
    batches: Batches[TuningBatch],
    *,
    loss: LossFn[TuningBatch],
    settings: FinetuneSettings,
    validation: Validation | None = None,
) -> tuple[list[Step], float]:
    """Trains the model in place and returns a record of every step, and the peak learning rate. validation: held-out
    examples, which are measured on the way, and by which the weights are chosen where the settings say so."""
    lr = settings.lr or lr_by_size(trainable.shape.num_params)
    if validation is not None:
        validation.before()
    steps = train(
        work,
        trainable.state,
        batches,
        loss_fn=loss,
        lr_schedule=settings.lr_schedule(len(batches), lr=lr),
        max_grad_norm=settings.optimizer.max_grad_norm,
        guard=settings.guard,
        strategy=trainable.strategy,
        micro_batch=settings.micro_batch,
        stop_when=_never if validation is None else validation.after,
    )
    if validation is not None:
        validation.finish()
    return steps, lr


def _never(step: Step) -> bool:
    return False
