"""What methods are given: sources that are there, shares within what may be read, and FLOPs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from herd.core.errors import DataError, SettingsError
from herd.mixing.methods import methods
from herd.mixing.problem import MixProblem, repetition_warnings, subsample, uniform_weights
from herd.tokens.shards import TokenShards
from herd.train.layout import ParallelLayout
from tests.mixing.planted import field, noise, planted, run
from tests.mixing.test_methods import shards as shards


def test_a_source_that_would_be_read_too_often_is_told_with_its_largest_share(shards: TokenShards) -> None:
    held = shards.index["sources"]["noise"]["train"]["tokens"]
    (said,) = repetition_warnings(shards, {"noise": 0.5, "target": 0.5 * 1e-9}, 8 * held, 4)
    assert "noise holds 9,750 tokens and would be read 8.0 times; a share of at most 0.500" in said


def test_bad_fields_are_refused(shards: TokenShards) -> None:
    with pytest.raises(DataError, match="the tokens hold no typo; they hold helper, noise, target"):
        field(shards, ("target", "typo"))
    with pytest.raises(DataError, match="one source makes no mix"):
        field(shards, ("target",))
    with pytest.raises(DataError, match="batch_tokens 32 holds no row of 64; try 64"):
        replace(run(), batch_tokens=32)
    with pytest.raises(SettingsError, match="doremi"):
        methods.configure("doremy")


def test_a_field_counts_flops_by_its_proxy(tmp_path: Path) -> None:
    given: MixProblem = field(planted(tmp_path, {"a": noise, "b": noise}, documents=10))
    shape = given.shape(given.proxy)
    assert given.flops(100) == pytest.approx(100 * shape.training_flops(64))


def test_proportions_are_of_the_tokens_there_are(tmp_path: Path) -> None:
    some = field(planted(tmp_path, {"a": noise, "b": noise}, documents=10))
    some.shards.index["sources"]["a"]["train"]["tokens"] = 300
    some.shards.index["sources"]["b"]["train"]["tokens"] = 100
    assert some.proportions == pytest.approx([0.75, 0.25])
    assert some.named(np.array([3.0, 1.0])) == {"a": 0.75, "b": 0.25}
    assert repetition_warnings(some.shards, {"a": 0.5, "b": 0.5}, 700, 4) == []


def test_runs_are_of_one_device_and_of_a_step_at_least() -> None:
    assert replace(run(), tokens=1).steps == 1
    assert run(tokens=10 * 512).steps == 10
    with pytest.raises(SettingsError, match="trained on one device"):
        replace(run(), layout=ParallelLayout(data=2))
    assert uniform_weights(4).tolist() == [0.25] * 4


@pytest.mark.parametrize("length", [1, 49, 50, 99, 1000])
def test_a_path_is_thinned_evenly_from_its_start(length: int) -> None:
    path = [np.array([float(n)]) for n in range(length)]
    places = [int(one[0]) for one in subsample(path)]
    assert places[0] == 0
    assert len(places) <= 100
    assert len(set(np.diff(places).tolist())) <= 1
