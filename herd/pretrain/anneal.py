"""Annealing: the rate to zero on upsampled good text, and the average of the last checkpoints (3.4.3)."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from herd.core.artifacts import Checkpoint, Tokens, atomic_write
from herd.core.errors import CorruptArtifactError
from herd.core.manifests import cached_sha256, sha256
from herd.core.settings import AddedLater, MixtureWeights, PositiveFloat, PositiveInt, Share, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses, weighted_loss
from herd.model.config import read_shape
from herd.model.stored import save_file
from herd.model.transformer import model_of
from herd.pretrain.mix import ProportionalMix, check_one_mix, later_shares
from herd.pretrain.pretrain import last_loss, sources_read, token_batches
from herd.tokens.shards import TokenShards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.averaging import average_weights
from herd.train.checkpoint import checkpoints, kind_of, write_checkpoint
from herd.train.loop import Step, train
from herd.train.objectives import next_token_loss
from herd.train.results import CheckpointAverage, HeldOutLoss, TrainingResult
from herd.train.schedule import BatchPhase, BatchRamp, LrScheduleName, MixPhase
from herd.train.session import TrainingSession, load_for_training
from herd.train.settings import TrainingSettings, num_ranks


@settings
class AnnealSettings(TrainingSettings):
    """The end of pre-training.

    mixture_weights: as `mix` says where they are absent, in proportion to the text where that is too.
    averaged_checkpoints: how many checkpoints are averaged. averaging_window: they are taken at equal distances from
    this last share of the steps, where the rate is small.
    """

    tokens: PositiveInt
    length: PositiveInt
    batch_tokens: PositiveInt
    lr: PositiveFloat
    min_lr_ratio: Share = 0.0
    schedule: LrScheduleName = "linear"
    mixture_weights: MixtureWeights | None = None
    averaged_checkpoints: PositiveInt = 4
    averaging_window: Share = 0.3
    mix: AddedLater[ProportionalMix | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_mix(self.mixture_weights, self.mix)


@stage(paper="3.4.3", version=5, ranks=num_ranks, isolated=True, gpu=True)
def anneal(work: Work, model: Checkpoint, tokens: Tokens, *, settings: AnnealSettings) -> Checkpoint:
    """The mean of the last checkpoints of a run whose rate falls linearly to zero."""
    shards = TokenShards(tokens.path)
    tokenizer = TextTokenizer.load(model.path)
    shape = read_shape(model.path)
    shards.check_packed_for(tokenizer, shape.vocab_size)
    length = min(settings.length, shape.max_seq_len)  # a context that did not grow is not read beyond
    session = load_for_training(work, model.path, settings=settings, moments=True)
    batch = (BatchPhase(until=1.0, batch_tokens=settings.batch_tokens),)
    ramp = BatchRamp(batch, settings.tokens, length)
    averaging = AveragedCheckpoints(work.scratch / "members", ramp.steps, settings)
    if session.first:
        averaging.start_over_if_damaged(work.scratch)

    def save_member(step: Step) -> bool:
        averaging.save_if_due(step.number, session)
        return False

    weights = later_shares(work, shards, settings.mixture_weights, settings.mix, tokens=settings.tokens)
    batches = token_batches(shards, (MixPhase(until=1.0, mixture_weights=weights),), ramp, settings.seed)
    steps = train(
        work,
        session.state,
        batches,
        loss_fn=next_token_loss,
        lr_schedule=settings.lr_schedule(ramp.steps),
        max_grad_norm=settings.optimizer.max_grad_norm,
        guard=settings.guard,
        strategy=session.strategy,
        micro_batch=settings.micro_batch,
        flops_per_token=session.shape.training_flops(length),
        stop_when=save_member,
    )
    full_model = session.full_model(dtype=work.dtype)
    if full_model is None:
        return Checkpoint(work.out)
    members = averaging.read()
    evaluate = partial(held_out_losses, full_model, shards, length=length, workers=work.executor.workers)
    losses: list[dict[str, HeldOutLoss]] = []
    for member in members:
        full_model.load_state_dict(member)
        losses.append(evaluate(sources=weights))
    full_model.load_state_dict(average := average_weights(members))
    held_out = evaluate()
    final, note = last_loss(work, held_out, weights, steps)
    write_checkpoint(work.out, model_of(shape, average), tokenizer, kind=kind_of(model.path))
    work.record(
        TrainingResult(
            num_params=session.shape.num_params,
            tokens=ramp.rows * length,
            flops=ramp.rows * length * session.shape.training_flops(length),
            loss=final,
            length=length,
            sources=sources_read(batches, steps),
            held_out=held_out,
        )
    )
    # Of members nothing is known that was not measured.
    member_losses = [] if note else [weighted_loss(row, weights) for row in losses]
    work.record(CheckpointAverage(tuple(member_losses)))
    short = "" if length == settings.length else f"; rows of {length}, the context, not of {settings.length}"
    compared = f"loss of the average of {len(members)} {final:.4f}{note}"
    if member_losses:
        mean = sum(member_losses) / len(member_losses)
        compared = f"loss of the average {final:.4f}, of its {len(members)} members {mean:.4f}"
    work.headline = f"{compared}{short}{session.trainable_note}"
    return Checkpoint(work.out)


class AveragedCheckpoints:
    """The checkpoints to average, each a file that a crash leaves whole or absent."""

    def __init__(self, folder: Path, steps: int, settings: AnnealSettings) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        first = round(steps * (1 - settings.averaging_window))
        count = settings.averaged_checkpoints
        self.steps = {steps if count == 1 else first + round((steps - first) * n / (count - 1)) for n in range(count)}
        self.steps = {max(1, step) for step in self.steps}

    def save_if_due(self, step: int, session: TrainingSession) -> None:
        if step not in self.steps:
            return
        model = session.full_model()
        if model is not None:
            file = self._file(step)
            partial = file.with_suffix(".partial")
            save_file({name: value.contiguous() for name, value in model.state_dict().items()}, partial)
            atomic_write(file.with_suffix(".json"), json.dumps({"sha256": sha256(partial)}))
            partial.rename(file)

    def read(self) -> list[dict[str, Tensor]]:
        """The members' weights. Raises CorruptArtifactError when one is not what was written."""
        if not self._are_whole(self.steps):
            raise CorruptArtifactError(
                f"{self.folder} is damaged; delete {self.folder.parent} and run the same command again"
            )
        return [load_file(self._file(step)) for step in sorted(self.steps)]

    def start_over_if_damaged(self, scratch: Path) -> None:
        """Removes checkpoints that come after a member which is not what was written: training makes it again."""
        for saved in checkpoints(scratch):
            last_step = int(saved.name.rpartition("-")[2])
            if not self._are_whole({step for step in self.steps if step <= last_step}):
                shutil.rmtree(saved)

    def _file(self, step: int) -> Path:
        return self.folder / f"{step:09}.safetensors"

    def _are_whole(self, steps: set[int]) -> bool:
        try:
            return all(
                json.loads(self._file(step).with_suffix(".json").read_text(encoding="utf-8"))
                == {"sha256": cached_sha256(self._file(step))}
                for step in steps
            )
        except (OSError, ValueError):
            return False
