"""Stages cut short and on made-up text tell what the whole of them takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.model.sizes import Size
from herd.pretrain.long_context import LongContextSettings
from herd.pretrain.planning import estimate_costs, planned_trainings
from herd.pretrain.pretrain import PretrainSettings
from herd.pretrain.profiling import ProfileJob, ProfileResult, StageCost, _SyntheticText, profile_stages
from herd.run.processes import held_bytes
from herd.run.runner import required_plans
from herd.tokens.shards import TokenShards
from herd.train.schedule import BatchPhase, MixPhase
from tests.smoke import planned


def asked(width: int) -> ProfileJob:
    size = Size(dim=width, n_layers=2, n_heads=2, n_kv_heads=1, ffn_dim=2 * width)
    settings = PretrainSettings(
        size=size,
        length=64,
        tokens=1_000_000,
        batch=(BatchPhase(until=0.5, batch_tokens=128), BatchPhase(until=1.0, batch_tokens=256)),
        mix=(MixPhase(until=1.0, mixture_weights={"web": 0.5, "wiki": 0.5}),),
        lr=1e-3,
    )
    return ProfileJob(settings, size.shape(vocab_size=600, max_seq_len=64))


def test_a_stage_is_timed_and_weighed_in_a_process_of_its_own(tmp_path: Path) -> None:
    before = held_bytes()
    chain = [asked(64), asked(128)]
    small, large = (
        found.full_cost(one) for found, one in zip(profile_stages(chain, tmp_path, at_once=2), chain, strict=True)
    )
    assert 0 < small.core_seconds < large.core_seconds
    assert small.overhead_seconds > 0
    if before:  # Linux says what a process holds
        # Weights, gradients and two moments in fp32 at the least.
        assert small.held_bytes > 12 * chain[0].shape.num_params
        assert large.held_bytes > 12 * chain[1].shape.num_params
        assert large.peak_bytes > large.held_bytes


def test_there_is_text_for_one_batch_however_large(tmp_path: Path) -> None:
    tokens, _ = _SyntheticText(tmp_path, ["web", "wiki"], 50_000).folders(600, 32)
    found = TokenShards(tokens)
    assert found.sources == ["web", "wiki"]
    assert sum(len(found.read(name).ids) for name in found.sources) >= 50_000
    assert all(len(found.read(name, "heldout").ids) > 32 for name in found.sources)


def test_a_cut_keeps_every_batch_and_runs_alike_are_tried_once() -> None:
    one = asked(64)
    few = ProfileJob(one.short_settings, one.shape)
    assert list(few.batches) == list(one.batches) == [2, 4]
    assert sum(few.batches.values()) < sum(one.batches.values()) / 10
    longer = ProfileJob(_twice(one.settings), one.shape)
    assert longer.key == one.key
    assert longer.batches != one.batches
    assert asked(128).key != one.key


def _twice(settings: object) -> PretrainSettings:
    from dataclasses import replace

    assert isinstance(settings, PretrainSettings)
    assert settings.tokens is not None
    return replace(settings, tokens=2 * settings.tokens, lr=5e-4, seed=9)


def test_steps_of_every_size_count_and_tests_on_the_way_by_their_number() -> None:
    one = asked(64)
    found = ProfileResult({2: (1.0, 2.0), 4: (3.0, 4.0)}, StageCost(0.0, 0.0, 5.0, overhead_seconds=8.0))
    whole = found.full_cost(one)
    steps = one.batches
    assert whole.core_seconds == pytest.approx((2.0 * steps[2] + 4.0 * steps[4]) / sum(steps.values()))
    assert whole.overhead_seconds == 8.0
    longer = LongContextSettings(
        length=128, batch_tokens=256, check_tokens=512, checks=6, lr=1e-3, mixture_weights={"web": 1.0},
        text_sources=("web",),
    )  # fmt: skip
    again = ProfileJob(longer, one.shape, one)
    assert ProfileResult({2: (1.0, 2.0)}, StageCost(0.0, 0.0, 5.0, overhead_seconds=8.0)).full_cost(
        again
    ).overhead_seconds == pytest.approx(16.0)


def test_a_recipe_is_estimated_whole() -> None:
    every = required_plans(planned())
    # Of the ladder two models: more are more of the same.
    law = next(plan for plan in every if plan.stage.name == "fit_law")
    left_out = {law.key, *(plan.key for plan in law.parents[2:])}
    plans = [plan for plan in every if plan.key not in left_out]
    own = planned_trainings(plans)
    assert [training.plan.stage.name for training in own].count("pretrain") == 3
    found = estimate_costs(plans, jobs=1)
    assert set(found) == {training.plan.key for training in own}
    assert all(one.core_seconds > 0 and one.overhead_seconds > 0 for one in found.values())
