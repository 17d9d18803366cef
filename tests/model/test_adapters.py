"""Adapters: nothing at first, alone in learning, and gone in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from herd.core.places import LocalPlace
from herd.model.adapters import LoraLinear, LoraSettings, adapt, merge
from herd.model.fused import fits
from herd.model.heads import RewardModel
from herd.train.batches import Batch
from herd.train.checkpoint import TrainState
from herd.train.loop import alone, steps
from herd.train.objectives import next_token
from herd.train.optimizer import AdamWSettings, adamw
from tests.model.test_transformer import SMALL, model

SETTINGS = LoraSettings(rank=4, alpha=8.0)
TOKENS = torch.randint(SMALL.vocabulary, (4, 17), generator=torch.Generator().manual_seed(0))


class Same:
    def __len__(self) -> int:
        return 20

    def batch(self, step: int) -> Batch:
        return Batch(TOKENS[:, :-1], TOKENS[:, 1:], torch.zeros_like(TOKENS[:, 1:]))


def test_adapters_learn_alone_and_become_part_of_the_matrices() -> None:
    made = model(SMALL)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    plain = made(TOKENS[:, :-1]).detach()
    adapt(made, SETTINGS)
    assert torch.equal(made(TOKENS[:, :-1]), plain)
    assert not fits(made)
    learnt = {name for name, weight in made.named_parameters() if weight.requires_grad}
    assert all(name.endswith((".first", ".second")) for name in learnt)
    assert len(learnt) == 2 * 7 * SMALL.layers
    state = TrainState(made, adamw(made, AdamWSettings(weight_decay=0.0)))
    losses = [
        step.loss
        for step in steps(
            state, Same(), loss=next_token, rate=lambda step: 1e-2, clip=1.0, hands=alone(state, LocalPlace())
        )
    ]
    assert losses[-1] < 0.8 * losses[0]
    moments = [name for name, _ in state.items() if name.startswith("exp_avg/")]
    assert len(moments) == len(learnt)
    adapted = made.eval()(TOKENS[:, :-1]).detach()
    merge(made)
    assert torch.allclose(made(TOKENS[:, :-1]), adapted, atol=1e-4)
    after = made.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "blocks." in name and "norm" not in name}
    assert all(weight.requires_grad for weight in made.parameters())


def test_only_the_matrices_named_are_adapted() -> None:
    made = model(SMALL)
    adapt(made, LoraSettings(rank=2, matrices=("query", "value")))
    found = [name for name, part in made.named_modules() if type(part) is LoraLinear]
    assert {name.rpartition(".")[2] for name in found} == {"query", "value"}
    assert len(found) == 2 * SMALL.layers


def test_without_settings_nothing_is_frozen() -> None:
    made = model(SMALL)
    adapt(made, None)
    merge(made)
    assert all(weight.requires_grad for weight in made.parameters())


def test_a_reward_models_head_is_learnt_with_the_adapters() -> None:
    made = RewardModel(replace(SMALL))
    adapt(made.trunk, SETTINGS)
    assert made.score.weight.requires_grad
    assert not made.trunk.embedding.weight.requires_grad
    merge(made)
    assert not [part for part in made.modules() if type(part) is LoraLinear]


@pytest.mark.parametrize("seed", [0, 1])
def test_adapters_are_drawn_by_their_seed(seed: int) -> None:
    one, other = model(SMALL), model(SMALL)
    adapt(one, SETTINGS, seed=seed)
    adapt(other, SETTINGS, seed=0)
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    assert all(same) == (seed == 0)
