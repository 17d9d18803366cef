"""What ranks of a test do: they train in several layouts, with and without a bit of one weight that flips in rank 1."""

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

from herd.core.stage import Work
from herd.train.batches import Batch, TokenBatches
from herd.train.checkpoint import TrainState
from herd.train.distributed import DistributedStrategy
from herd.train.layout import ParallelLayout
from herd.train.loop import MetricSums, train
from herd.train.objectives import next_token_loss
from herd.train.optimizer import AdamWSettings
from herd.train.regions import local_tensor
from herd.train.results import TrainingIncidents
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from tests.train.ranks import SHAPE, initial
from tests.train.test_batches import shards

STEPS, ROWS = 30, 4


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


def train_layouts(work: Work, at: int, once: str) -> None:
    """Writes of each layout without a fault and with one: a hash of the weights at the end, the losses, and what was
    told. at: the step before which a bit flips. once: files that say it has, one for each layout."""
    rows: dict[str, list[Any]] = {name: [] for name in LAYOUTS}
    for name, layout in LAYOUTS.items():
        for step in (STEPS, at):
            part = replace(work, scratch=work.scratch / f"{name}-{step}", out=work.out / f"{name}-{step}", results={})
            part.out.mkdir()
            flip = partial(Flipping, weight=name, at=step, once=Path(f"{once}-{name}"))
            rows[name].append(_trained(part, layout, flip))
    (work.out / "scores.json").write_text(json.dumps(rows))
    dist.barrier()


def _trained(work: Work, layout: ParallelLayout, flipping: Any) -> dict[str, Any]:
    team = DistributedStrategy(layout, torch.device("cpu"), timeout_seconds=60)
    state = team.state(SHAPE, AdamWSettings(), first=initial())
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
