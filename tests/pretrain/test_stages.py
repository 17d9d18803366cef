"""The stages of pre-training, by what they leave behind in a small run."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.artifacts import Artifact
from herd.model.weights import load_transformer
from herd.serve.folders import made_in
from herd.train.log import METRICS, read_steps


def made(run: Path, stage: str) -> list[Artifact]:
    return [one for one in made_in(run) if one.card["stage"] == stage]


@pytest.mark.row(33, "switch")
def test_the_batch_doubles_on_the_way_without_a_jump_of_the_loss(smoke_run: Path, figure) -> None:
    base = next(one for one in made(smoke_run, "pretrain") if one.figures["weights"] == 67_744)
    steps = read_steps(base.path / METRICS)
    first, last = steps[0].weight, steps[-1].weight
    switch = next(n for n, step in enumerate(steps) if step.weight > 1.5 * first)
    before = sum(step.loss for step in steps[switch - 6 : switch]) / 6
    after = sum(step.loss for step in steps[switch : switch + 6]) / 6
    # The mix changes at the same place, towards text that is easier: the loss may fall, not rise.
    figure(f"batch {first:.0f} to {last:.0f} targets, loss {after - before:+.3f}")
    assert last > 1.7 * first
    assert after - before < 0.05


@pytest.mark.row(37, "loss")
def test_an_average_is_no_worse_than_its_members(smoke_run: Path, figure) -> None:
    (annealed,) = made(smoke_run, "anneal")
    members = annealed.figures["members"]
    mean = sum(members) / len(members)
    figure(f"{annealed.figures['loss']:.4f} for {mean:.4f}")
    assert len(members) == 4
    assert annealed.figures["loss"] <= mean + 1e-4


def test_a_failed_gate_leaves_the_context_and_says_so(smoke_run: Path) -> None:
    first, second = made(smoke_run, "extend_context")
    for stage in (first, second):
        context = load_transformer(stage.path).shape.context
        assert stage.figures["switched"] == (context == stage.figures["length"] and context > 64)
        assert stage.figures["gate"]["asked"] == 0.95
        assert stage.figures["needle_before"]


def test_losses_of_a_chain_start_where_the_stage_before_ended(smoke_run: Path) -> None:
    for one in made(smoke_run, "pretrain"):
        steps = read_steps(one.path / METRICS)
        assert [step.number for step in steps] == list(range(1, len(steps) + 1))
        assert steps[-1].rate < max(step.rate for step in steps)
