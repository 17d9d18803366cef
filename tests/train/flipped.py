"""A recipe whose only stage trains on two ranks, in one of which a bit of one weight flips."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from herd.core.artifacts import Scores
from herd.core.settings import settings
from herd.core.stage import Work, stage
from herd.recipes import recipes
from herd.train.batches import Batch, TokenBatches
from herd.train.checkpoint import TrainState
from herd.train.distributed import DistributedStrategy
from herd.train.layout import ParallelLayout
from herd.train.loop import MetricSums, train
from herd.train.objectives import next_token_loss
from herd.train.optimizer import OptimizerSettings
from herd.train.regions import local_tensor
from herd.train.results import TrainingIncidents
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from tests.train.ranks import SHAPE, initial
from tests.train.test_batches import shards

STEPS, ROWS = 30, 4


@settings
class FlippedSettings:
    """at: the step before which a bit flips in rank 1, once for each layout. once: files that say it has."""

    at: int
    once: str


@dataclass
class Flipping:
    """The loss of the next token, which flips the bit before it is computed."""

    state: TrainState[Any]
    weight: str
    at: int
    once: Path

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, MetricSums]:
        if self.state.step >= self.at and dist.get_rank() == 1 and not self.once.exists():
            self.once.touch()
            weight = local_tensor(dict(self.state.model.named_parameters())[self.weight].detach())
            weight.view(torch.int32).view(-1)[3] ^= 1 << 28  # of the exponent
        return next_token_loss(model, batch)


# Weights that data ranks share out, and a gain that tensor ranks hold twice.
LAYOUTS = {
    "blocks.1.feed_forward.up.weight": ParallelLayout(data=2),
    "norm.weight": ParallelLayout(tensor=2),
}


def _ranks(settings: FlippedSettings) -> int:
    return 2


@stage(paper="-", version=1, ranks=_ranks)
def train_flipped(work: Work, *, settings: FlippedSettings) -> Scores:
    """Of each layout without a fault and with one: a hash of the weights at the end, the losses, and what was told."""
    rows: dict[str, list[Any]] = {name: [] for name in LAYOUTS}
    for name, layout in LAYOUTS.items():
        for at in (STEPS, settings.at):
            part = replace(work, scratch=work.scratch / f"{name}-{at}", out=work.out / f"{name}-{at}", results={})
            part.out.mkdir()
            once = Path(f"{settings.once}-{name}")
            rows[name].append(_trained(part, layout, partial(Flipping, weight=name, at=at, once=once)))
    (work.out / "scores.json").write_text(json.dumps(rows))
    work.headline = "trained"
    dist.barrier()
    return Scores(work.out)


def _trained(work: Work, layout: ParallelLayout, flipping: Any) -> dict[str, Any]:
    team = DistributedStrategy(layout, torch.device("cpu"), timeout_seconds=60)
    state = team.state(SHAPE, OptimizerSettings(), first=initial())
    found = shards(work.out, {"a": [20, 33, 47, 80, 100], "b": [33, 66, 99, 120]})
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=32 * ROWS),), 32 * ROWS * STEPS, 32)
    batches = TokenBatches(found, (MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),), ramp, seed=0, pad=0)
    made = train(
        work, state, batches, loss_fn=flipping(state), lr_schedule=lambda step: 1e-3, max_grad_norm=1.0, strategy=team
    )
    whole = team.full_model()
    weights = [] if whole is None else [weight.detach().numpy().tobytes() for weight in whole.parameters()]
    digest = hashlib.sha256(b"".join(weights)).hexdigest()
    incidents = work.results.get(TrainingIncidents)
    told = list(incidents.damaged_weights) if incidents else []
    return {"weights": digest, "losses": [step.loss for step in made], "told": told}


@recipes.add
def flipped(s: FlippedSettings) -> Scores:
    """One stage on several ranks."""
    return train_flipped(settings=s)
