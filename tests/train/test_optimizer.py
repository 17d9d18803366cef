"""AdamW decays matrices only, by the step's rate, and leaves frozen weights alone; Muon has the matrices of blocks."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from herd.model.adapters import LoraSettings, apply_lora
from herd.train.optimizer import AdamW, AdamWSettings, OptimizerSettings, adamw, build_optimizer, set_lr
from tests.model.test_transformer import SMALL
from tests.train.test_loop import state


def test_only_matrices_decay() -> None:
    groups = state().optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert all(weight.dim() >= 2 for weight in groups[0]["params"])


class Both(nn.Module):
    """A matrix and a vector of ones."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix, self.vector = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2))


def test_decay_scales_with_the_steps_rate() -> None:
    """Decoupled: without a gradient a matrix shrinks by rate x decay and a vector stays."""
    made = Both()
    optimizer = adamw(made, AdamWSettings(weight_decay=0.5))
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]  # the loop sets it
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    made.matrix.grad, made.vector.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step()
    assert torch.allclose(made.matrix, torch.full((2, 2), 1 - 0.1 * 0.5))
    assert torch.equal(made.vector.detach(), torch.ones(2))


def test_the_first_step_is_as_long_as_the_rate_whatever_the_gradient() -> None:
    for size in (1e-3, 1e3):
        made = Both()
        optimizer = adamw(made, AdamWSettings(weight_decay=0.0))
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        made.matrix.grad, made.vector.grad = torch.full((2, 2), size), torch.full((2,), -size)
        optimizer.step()
        assert float(made.matrix[0, 0].detach()) == pytest.approx(0.99, abs=1e-5)
        assert float(made.vector[0].detach()) == pytest.approx(1.01, abs=1e-5)


def test_frozen_weights_are_none_of_its_business_and_no_group_is_empty() -> None:
    made = Both()
    made.vector.requires_grad_(False)
    (group,) = adamw(made, AdamWSettings(beta1=0.8, beta2=0.99, eps=1e-6)).param_groups
    assert group["params"] == [made.matrix]
    assert (group["betas"], group["eps"]) == ((0.8, 0.99), 1e-6)


def test_it_is_pytorchs_bit_for_bit_and_loads_what_it_saved() -> None:
    def train(optimizer_class: type[torch.optim.AdamW]) -> tuple[torch.Tensor, dict]:
        torch.manual_seed(0)
        model = nn.Linear(7, 5)
        inputs = [torch.randn(3, 7) for _ in range(6)]
        optimizer = optimizer_class(model.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
        for step, x in enumerate(inputs):
            if step == 3:
                saved = optimizer.state_dict()
                optimizer = optimizer_class(model.parameters(), lr=0.5, fused=True)
                optimizer.load_state_dict(saved)
            model(x).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.weight, optimizer.state_dict()

    (weight, saved), (expected_weight, expected_saved) = train(AdamW), train(torch.optim.AdamW)
    assert torch.equal(weight, expected_weight)
    assert saved["param_groups"] == expected_saved["param_groups"]
    for index, moments in expected_saved["state"].items():
        assert all(torch.equal(saved["state"][index][name], tensor) for name, tensor in moments.items())


def test_a_step_needs_no_gradient_of_itself() -> None:
    model = nn.Linear(2, 1)
    optimizer = adamw(model, AdamWSettings())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert model.weight.is_leaf
    assert all(not tensor.requires_grad for state in optimizer.state.values() for tensor in state.values())


def test_muon_has_the_matrices_of_blocks_and_adamw_all_else() -> None:
    model = state().model
    settings = OptimizerSettings(name="muon", weight_decay=0.2, adamw_lr_ratio=0.25, momentum=0.9, ns_steps=3)
    optimizer = build_optimizer(model, settings)
    set_lr(optimizer, 0.4)
    names = {weight: name for name, weight in model.named_parameters()}
    muon, matrices, vectors = optimizer.param_groups
    assert {names[weight] for weight in muon["params"]} == {
        name for weight, name in names.items() if "blocks." in name and weight.dim() == 2
    }
    assert {names[weight] for weight in matrices["params"]} == {"embedding.weight", "output.weight"}
    assert all(weight.dim() == 1 for weight in vectors["params"])
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(names)
    assert (muon["lr"], muon["weight_decay"], muon["momentum"], muon["ns_steps"]) == (0.4, 0.2, 0.9, 3)
    assert [(group["lr"], group["weight_decay"]) for group in (matrices, vectors)] == [(0.1, 0.2), (0.1, 0.0)]
    plain = build_optimizer(model, OptimizerSettings(adamw_lr_ratio=0.25))
    set_lr(plain, 0.4)
    assert isinstance(plain, AdamW)  # the ratio is one beside Muon
    assert {group["lr"] for group in plain.param_groups} == {0.4}


def test_adapters_are_matrices_of_blocks() -> None:
    model = state().model
    apply_lora(model, LoraSettings(rank=2))
    (muon,) = build_optimizer(model, OptimizerSettings(name="muon")).param_groups
    assert "momentum" in muon
    assert len(muon["params"]) == 2 * 7 * SMALL.n_layers


def test_training_does_not_load_pytorchs_compiler() -> None:
    """It takes as long as torch itself, and every process that trains would pay for it."""
    code = """
import collections, sys, torch
import herd.train.loop, herd.train.session, herd.train.distributed
from herd.model.sizes import Shape
from herd.model.transformer import Transformer
from herd.train.optimizer import OptimizerSettings, build_optimizer
with torch.device("meta"):
    Transformer(Shape(vocab_size=8, dim=8, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=8, max_seq_len=8))
model = torch.nn.Sequential(collections.OrderedDict(blocks=torch.nn.Sequential(torch.nn.Linear(4, 4))))
for name in ("adamw", "muon"):
    optimizer = build_optimizer(model, OptimizerSettings(name=name))
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    for part in getattr(optimizer, "optimizers", (optimizer,)):
        part.load_state_dict(part.state_dict())
print(*sorted({"torch._dynamo", "torch._inductor", "torch.distributed.pipelining"} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
