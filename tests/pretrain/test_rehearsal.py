"""Stages cut short and on made-up text tell what the whole of them takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.processes import held_bytes
from herd.core.runner import needed
from herd.model.sizes import Size
from herd.pretrain.initial import PretrainSettings
from herd.pretrain.long_context import LengthSettings
from herd.pretrain.planning import foretell, trainings
from herd.pretrain.rehearsal import Pace, Rehearsal, Tried, _MadeUp, rehearse
from herd.tokens.shards import Shards
from herd.train.schedule import BatchPhase, MixPhase
from tests.smoke import planned


def asked(width: int) -> Rehearsal:
    size = Size(width=width, layers=2, heads=2, kv_heads=1, hidden=2 * width)
    settings = PretrainSettings(
        size=size,
        length=64,
        tokens=1_000_000,
        batch=(BatchPhase(until=0.5, batch_tokens=128), BatchPhase(until=1.0, batch_tokens=256)),
        mix=(MixPhase(until=1.0, shares={"web": 0.5, "wiki": 0.5}),),
        lr=1e-3,
    )
    return Rehearsal(settings, size.shape(vocabulary=600, context=64))


def test_a_stage_is_timed_and_weighed_in_a_process_of_its_own(tmp_path: Path) -> None:
    before = held_bytes()
    chain = [asked(64), asked(128)]
    small, large = (found.whole(one) for found, one in zip(rehearse(chain, tmp_path, at_once=2), chain, strict=True))
    assert 0 < small.core_seconds < large.core_seconds
    assert small.besides > 0
    if before:  # Linux says what a process holds
        # Weights, gradients and two moments in fp32 at the least.
        assert small.held_bytes > 12 * chain[0].shape.weights
        assert large.held_bytes > 12 * chain[1].shape.weights
        assert large.peak_bytes > large.held_bytes


def test_there_is_text_for_one_batch_however_large(tmp_path: Path) -> None:
    tokens, _ = _MadeUp(tmp_path, ["web", "wiki"], 50_000).folders(600, 32)
    found = Shards(tokens)
    assert found.sources == ["web", "wiki"]
    assert sum(len(found.read(name).ids) for name in found.sources) >= 50_000
    assert all(len(found.read(name, "heldout").ids) > 32 for name in found.sources)


def test_a_cut_keeps_every_batch_and_runs_alike_are_tried_once() -> None:
    one = asked(64)
    few = Rehearsal(one.cut, one.shape)
    assert list(few.batches) == list(one.batches) == [2, 4]
    assert sum(few.batches.values()) < sum(one.batches.values()) / 10
    longer = Rehearsal(_twice(one.settings), one.shape)
    assert longer.key == one.key
    assert longer.batches != one.batches
    assert asked(128).key != one.key


def _twice(settings: object) -> PretrainSettings:
    from dataclasses import replace

    assert isinstance(settings, PretrainSettings)
    return replace(settings, tokens=2 * settings.tokens, lr=5e-4, seed=9)


def test_steps_of_every_size_count_and_tests_on_the_way_by_their_number() -> None:
    one = asked(64)
    found = Tried({2: (1.0, 2.0), 4: (3.0, 4.0)}, Pace(0.0, 0.0, 5.0, besides=8.0))
    whole = found.whole(one)
    steps = one.batches
    assert whole.core_seconds == pytest.approx((2.0 * steps[2] + 4.0 * steps[4]) / sum(steps.values()))
    assert whole.besides == 8.0
    longer = LengthSettings(
        length=128, batch_tokens=256, check_tokens=512, checks=6, lr=1e-3, shares={"web": 1.0},
        text_sources=("web",),
    )  # fmt: skip
    again = Rehearsal(longer, one.shape, one)
    assert Tried({2: (1.0, 2.0)}, Pace(0.0, 0.0, 5.0, besides=8.0)).whole(again).besides == pytest.approx(16.0)


def test_a_recipe_is_foretold_whole() -> None:
    plans = needed(planned())
    found = foretell(plans, jobs=1)
    assert set(found) == {one.plan.key for one in trainings(plans)}
    assert all(one.core_seconds > 0 and one.besides > 0 for one in found.values())
