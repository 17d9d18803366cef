"""Stages of mixing: a mix on disk, and runs that read no source too often."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from herd.core.artifacts import Tokens
from herd.core.errors import DataError
from herd.mixing.methods import methods
from herd.mixing.stages import MixSettings, TrialSettings, _within_epochs, find_mix
from herd.tokens.shards import TokenShards
from tests.imported import work
from tests.mixing.planted import field, noise, planted, run
from tests.mixing.test_methods import shards as shards


def test_the_runs_end_reads_what_the_rest_has_left(shards: TokenShards) -> None:
    given = field(shards)
    there = {name: shards.index["sources"][name]["train"]["tokens"] for name in given.sources}
    one, *others = given.sources
    tokens = 2 * there[one] // 512 * 512
    trial = TrialSettings(
        run=replace(run(), tokens=tokens),
        max_epochs=1.0,
        late_share=0.5,
        late_weights={one: 1.0} | dict.fromkeys(others, 0.5),
    )
    equal = dict.fromkeys(given.sources, 1.0)
    kept, late, said = _within_epochs(given, equal, trial)
    assert kept == equal
    assert late is not None
    # A third of the first half was its own, so of the second half two thirds may be at most; it asked for a half.
    assert (late, said) == (trial.late_weights, [])
    tight = replace(trial, late_weights={one: 0.9} | dict.fromkeys(others, 0.05))
    _, late, said = _within_epochs(given, equal, tight)
    assert late is not None
    assert late[one] == pytest.approx(1 - 1 / len(given.sources), abs=0.01)
    assert said[0].startswith(f"at the end {one} would be read")
    _, none, _ = _within_epochs(given, equal, replace(trial, late_weights=None))
    assert none is None


@pytest.mark.parametrize("late", [0.0, 0.25, 0.5])
def test_no_source_is_read_more_often_than_allowed_in_both_parts_together(late: float, shards: TokenShards) -> None:
    given = field(shards)
    there = np.array([shards.index["sources"][name]["train"]["tokens"] for name in given.sources], float)
    chance = np.random.default_rng(0)
    for _ in range(20):
        first, last = (dict(zip(given.sources, chance.dirichlet([0.3] * 3), strict=True)) for _ in range(2))
        tokens = int(chance.uniform(0.5, 1.9) * there.sum()) // 512 * 512
        trial = TrialSettings(run=replace(run(), tokens=tokens), max_epochs=2.0, late_share=late, late_weights=last)
        kept, ending, said = _within_epochs(given, first, trial)
        parts = [(kept, 1 - late)] + ([(ending, late)] if ending else [])
        read = sum(np.array([some.get(name, 0.0) for name in given.sources]) * part for some, part in parts) * tokens
        assert (read <= 2.0 * there * (1 + 1e-6)).all()
        assert bool(said) == (kept != first or (ending is not None and ending != last))
        assert (ending is None) == (late == 0)


def test_a_run_that_no_mix_has_the_text_for_is_refused(shards: TokenShards) -> None:
    given = field(shards)
    total = sum(shards.index["sources"][name]["train"]["tokens"] for name in given.sources)
    trial = TrialSettings(run=replace(run(), tokens=2 * total), max_epochs=1.0)
    with pytest.raises(DataError, match=r"hold only \d+% of the tokens asked for .* its share is cut to"):
        _within_epochs(given, {given.sources[0]: 1.0}, trial)


def test_a_mix_on_disk_says_how_it_was_found(tmp_path: Path) -> None:
    planted(tmp_path / "tokens", {"a": noise, "b": noise, "c": noise}, documents=10)
    method = methods.configure("fixed_weights", label="ours", weights={"a": 3.0 / 4, "c": 1.0 / 4})
    made = find_mix.body(
        work(tmp_path / "mix"), Tokens(tmp_path / "tokens"), method=method, proxy=run(),
        settings=MixSettings(sources=("a", "c")), seed=5,
    )  # fmt: skip
    row = json.loads((made.path / "mix.json").read_text(encoding="utf-8"))
    assert row["shares"] == pytest.approx({"a": 0.75, "c": 0.25})
    assert (row["method"], row["seed"], row["settings"]["label"]) == ("fixed_weights", 5, "ours")
    assert row["proxy_params"] == field(TokenShards(tmp_path / "tokens")).shape(run()).num_params
    assert (row["flops"], row["online"], row["sampled"]) == (0.0, False, False)
