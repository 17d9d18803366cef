"""What one rank of a test does: trains the same few steps in several layouts and prints what came out.

python -m tests.train.ranks FOLDER LAYOUT...: a layout is `data=2,tensor=2`, or with another optimizer
`data=2,optimizer=muon`, with only some weights that learn `data=2,unfrozen=lm_head`, and with another micro-batch, or
with what is kept for the way back, `pipeline=2,micro_batch=1` and `tensor=2,recompute=selective`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from herd.model.collectives import RankGroup
from herd.model.sizes import Shape, Size
from herd.model.transformer import Transformer, initial_weights
from herd.train.batches import TokenBatches
from herd.train.checkpoint import Saver, TrainState, restore
from herd.train.freezing import freeze_except
from herd.train.layout import ParallelLayout
from herd.train.loop import Strategy, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import OptimizerSettings
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from herd.train.settings import ComputeSettings
from tests.train.test_batches import shards

SHAPE = Size(dim=16, n_layers=4, n_heads=4, n_kv_heads=2, ffn_dim=32).shape(vocab_size=128, max_seq_len=32)
STEPS, ROWS = 6, 8


def batches(folder: Path) -> TokenBatches:
    folder.mkdir(exist_ok=True)
    found = shards(folder, {"a": [20, 33, 47, 80, 100], "b": [33, 66, 99, 120]})
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=32 * ROWS),), 32 * ROWS * STEPS, 32)
    return TokenBatches(found, (MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),), ramp, seed=0, pad=0)


def initial():
    return initial_weights(SHAPE, std=0.1, generator=torch.Generator().manual_seed(0))


def losses(state: TrainState, given: TokenBatches, hands: Strategy, micro_batch: int = 2) -> list[list[float]]:
    found = train_steps(
        state,
        given,
        loss_fn=next_token_loss,
        lr_schedule=lambda step: 1e-2,
        max_grad_norm=1.0,
        strategy=hands,
        micro_batch=micro_batch,
    )
    names = ("loss/a", "tokens/a", "tokens/b")
    return [[step.loss, step.grad_norm, *(step.metrics[name] for name in names)] for step in found]


def partly_frozen(shape: Shape, unfrozen: str) -> Transformer:
    model = Transformer(shape)
    freeze_except(model, shape, [unfrozen] if unfrozen else [])
    return model


def main(folder: Path, layouts: list[str]) -> None:
    # Of ranks only: it takes longer to import than torch, and tests import this file for its numbers.
    from herd.train.distributed import DistributedStrategy

    given = batches(folder / f"tokens-{os.environ['RANK']}")
    rows = {}
    for words in layouts:
        choices: dict[str, Any] = dict(pair.split("=") for pair in words.split(","))
        optimizer = OptimizerSettings(name=choices.pop("optimizer", "adamw"))
        build = partial(partly_frozen, unfrozen=choices.pop("unfrozen", ""))
        micro_batch = int(choices.pop("micro_batch", "2"))
        recompute: Any = choices.pop("recompute", False)
        compute = ComputeSettings(recompute=recompute)
        layout = ParallelLayout(**{name: int(value) for name, value in choices.items()})
        team = DistributedStrategy(layout, torch.device("cpu"), timeout_seconds=60)
        state = team.state(SHAPE, optimizer, compute, first=initial(), build=build)
        rows[words] = {"layout": asdict(layout), "steps": losses(state, given, team, micro_batch)}
        # Saved from this layout; whoever reads it gets the same weights in one piece.
        saver = Saver(folder / words)
        saver.save(state)
        saver.wait()
        dist.barrier()
        again = team.state(SHAPE, optimizer, first=initial(), build=build)
        assert restore(folder / words, again)
        whole, other = team.full_model(), None
        assert (whole is None) == (dist.get_rank() > 0)
        team.model = again.model
        other = team.full_model(on_all=True)
        assert other is not None
        sums = [float(weight.detach().double().square().sum()) for weight in other.parameters()]
        assert RankGroup.joined().gather(sums) == [sums] * dist.get_world_size()
        if whole is not None and other is not None:
            rows[words]["kept"] = all(
                torch.equal(a, b) for a, b in zip(whole.parameters(), other.parameters(), strict=True)
            )
    if dist.get_rank() == 0:
        (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
