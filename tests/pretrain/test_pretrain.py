"""Initial pre-training: what its settings refuse, and what a card says was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError, SettingsError
from herd.pretrain.pretrain import PretrainSettings, sources_read, token_batches
from herd.train.log import Step
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase
from tests.train.test_batches import shards

MIX = (MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),)


def ramp(batch_tokens: int = 64, tokens: int = 640) -> BatchRamp:
    return BatchRamp((BatchPhase(until=1.0, batch_tokens=batch_tokens),), tokens, 16)


@pytest.mark.parametrize("what", ["batch", "mix"])
def test_phases_that_do_not_end_with_the_run_are_refused_by_name(what: str) -> None:
    row: dict[str, Any] = {"length": 16, "tokens": 640, "batch": ramp().phases, "mix": MIX, "lr": 1e-3}
    PretrainSettings(**row)
    half = {
        "batch": (BatchPhase(until=0.5, batch_tokens=64),),
        "mix": (MixPhase(until=0.5, mixture_weights={"a": 1.0}),),
    }
    with pytest.raises(SettingsError, match=f"{what}: `until` must rise and end at 1.0"):
        PretrainSettings(**(row | {what: half[what]}))


def test_less_text_than_a_batch_is_told_with_the_batch_that_it_fills(tmp_path: Path) -> None:
    found = shards(tmp_path, {"a": [20], "b": [30]})
    assert len(token_batches(found, MIX, ramp(batch_tokens=48), seed=0)) > 0
    there = sum(found.index["sources"][name]["train"]["tokens"] for name in "ab")
    with pytest.raises(DataError, match=f"holds {there} tokens, less than one batch of 640; .* at most {there}"):
        token_batches(found, MIX, ramp(batch_tokens=640), seed=0)


def test_a_card_says_what_was_trained_on_and_from_how_many_rows(tmp_path: Path) -> None:
    batches = token_batches(shards(tmp_path, {"a": [17] * 30, "b": [17] * 30}), MIX, ramp(), seed=0)
    metrics = {"tokens/a": 32.0, "tokens/b": 32.0}
    steps = [Step(n, 1.0, 1.0, 1e-3, 1.0, 64.0, metrics, "spike" if n == 2 else "") for n in (1, 2, 3)]
    found = sources_read(batches, steps)
    for row in found.values():
        assert (row.tokens, row.share) == (64, 0.5)  # of two of three steps
        assert row.rows == 6  # all three were read
    assert sources_read(batches, [])["a"].share == 0.0
