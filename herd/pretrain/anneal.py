"""Annealing: the rate to zero on upsampled good text, and the average of the last checkpoints (3.4.3)."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from herd.core.artifacts import Checkpoint, Tokens, write_whole
from herd.core.errors import DamagedError
from herd.core.manifests import digest, sha256
from herd.core.settings import Positive, Rate, Share, Shares, settings
from herd.core.stage import Work, stage
from herd.evals.losses import held_out_losses, weighted_loss
from herd.model.config import shape_in
from herd.model.stored import save_file
from herd.pretrain.initial import sources_read, token_batches
from herd.tokens.shards import Shards
from herd.tokens.tokenizer import TextTokenizer
from herd.train.averaging import average
from herd.train.checkpoint import checkpoints, kind_of, write_checkpoint
from herd.train.loop import Step, train
from herd.train.objectives import next_token
from herd.train.results import CheckpointAverage, TrainingResult
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, ScheduleName
from herd.train.settings import TrainingSettings, ranks_of
from herd.train.start import Started, load_for_training


@settings
class AnnealSettings(TrainingSettings):
    """The end of pre-training.

    members: how many checkpoints are averaged. window: they are taken at equal distances from this last
    share of the steps, where the rate is small.
    """

    tokens: Positive
    length: Positive
    batch_tokens: Positive
    lr: Rate
    min_lr_ratio: Share = 0.0
    schedule: ScheduleName = "linear"
    shares: Shares
    members: Positive = 4
    window: Share = 0.3


@stage(paper="3.4.3", version=4, ranks=ranks_of, fresh=True, gpu=True)
def anneal(work: Work, model: Checkpoint, tokens: Tokens, *, settings: AnnealSettings) -> Checkpoint:
    """The mean of the last checkpoints of a run whose rate falls linearly to zero."""
    shards = Shards(tokens.path)
    text = TextTokenizer.load(model.path)
    shape = shape_in(model.path)
    shards.check_packed_for(text, shape.vocabulary)
    length = min(settings.length, shape.context)  # a context that did not grow is not read beyond
    made = load_for_training(work, model.path, settings=settings, moments=True)
    batch = (BatchPhase(until=1.0, batch_tokens=settings.batch_tokens),)
    ramp = BatchRamp(batch, settings.tokens, length)
    kept = Members(work.scratch / "members", ramp.steps, settings)
    if made.first:
        kept.start_over_if_damaged(work.scratch)

    def keep(step: Step) -> bool:
        kept.offer(step.number, made)
        return False

    batches = token_batches(shards, (MixPhase(until=1.0, shares=settings.shares),), ramp, settings.seed)
    steps = train(
        work,
        made.state,
        batches,
        loss=next_token,
        rate=settings.lr_schedule(ramp.steps),
        clip=settings.optimizer.max_grad_norm,
        guard=settings.guard,
        hands=made.hands,
        micro_batch=settings.micro_batch,
        flops_per_token=made.shape.training_flops(length),
        enough=keep,
    )
    whole = made.whole()
    if whole is None:
        return Checkpoint(work.out)
    members = kept.read()
    measured = partial(held_out_losses, whole, shards, length=length, workers=work.place.workers)
    losses = []
    for member in members:
        whole.load_state_dict(member)
        losses.append(weighted_loss(measured(sources=settings.shares), settings.shares))
    whole.load_state_dict(average(members))
    held_out = measured()
    final = weighted_loss(held_out, settings.shares)
    write_checkpoint(work.out, whole, text, kind=kind_of(model.path))
    work.record(
        TrainingResult(
            num_params=made.shape.weights,
            tokens=ramp.rows * length,
            flops=ramp.rows * length * made.shape.training_flops(length),
            loss=final,
            length=length,
            sources=sources_read(batches, steps),
            held_out=held_out,
        )
    )
    work.record(CheckpointAverage(tuple(losses)))
    short = "" if length == settings.length else f"; rows of {length}, the context, not of {settings.length}"
    mean = sum(losses) / len(losses)
    work.headline = f"loss of the average {final:.4f}, of its {len(losses)} members {mean:.4f}{short}"
    return Checkpoint(work.out)


class Members:
    """The checkpoints to average, each a file that a crash leaves whole or absent."""

    def __init__(self, folder: Path, steps: int, settings: AnnealSettings) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        first = round(steps * (1 - settings.window))
        count = settings.members
        self.steps = {steps if count == 1 else first + round((steps - first) * n / (count - 1)) for n in range(count)}
        self.steps = {max(1, step) for step in self.steps}

    def offer(self, step: int, made: Started) -> None:
        if step not in self.steps:
            return
        model = made.whole()
        if model is not None:
            file = self._file(step)
            partial = file.with_suffix(".partial")
            save_file({name: value.contiguous() for name, value in model.state_dict().items()}, partial)
            write_whole(file.with_suffix(".json"), json.dumps({"sha256": sha256(partial)}))
            partial.rename(file)

    def read(self) -> list[dict[str, Tensor]]:
        """The members' weights. Raises DamagedError when one is not what was written."""
        if not self._are_whole(self.steps):
            raise DamagedError(f"{self.folder} is damaged; delete {self.folder.parent} and run the same command again")
        return [load_file(self._file(step)) for step in sorted(self.steps)]

    def start_over_if_damaged(self, scratch: Path) -> None:
        """Removes checkpoints that come after a member which is not what was written: training makes it again."""
        for saved in checkpoints(scratch):
            done = int(saved.name.rpartition("-")[2])
            if not self._are_whole({step for step in self.steps if step <= done}):
                shutil.rmtree(saved)

    def _file(self, step: int) -> Path:
        return self.folder / f"{step:09}.safetensors"

    def _are_whole(self, steps: set[int]) -> bool:
        try:
            return all(
                json.loads(self._file(step).with_suffix(".json").read_text(encoding="utf-8"))
                == {"sha256": digest(self._file(step))}
                for step in steps
            )
        except (OSError, ValueError):
            return False
