"""The plans of a search for a mix, and a search that is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import build
from herd.core.stage import plan_of, walk
from herd.mixing.choice import choose_mix
from herd.mixing.problem import ProxySettings
from herd.mixing.stages import TrialSettings, find_mix
from herd.model.sizes import Size
from herd.recipes.data import prepare_data
from herd.recipes.mixing_search import (
    CandidateRun,
    MixSearchSettings,
    forecast_candidates,
    search_mix,
    try_candidates,
)
from tests.recipes.test_data import data

SIZE = Size(dim=8, n_layers=1, n_heads=2, n_kv_heads=1, ffn_dim=16)
PROXY = {"size": {"dim": 8, "n_layers": 1, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 16}, "length": 16, "tokens": 512,
         "batch_tokens": 64, "lr": 0.01}  # fmt: skip
CANDIDATES = {"equal": {"web": 0.5, "books": 0.5}, "web": {"web": 1.0, "books": 0.0}}


def search(**changes: object) -> MixSearchSettings:
    rungs = [{"size": PROXY["size"], "tokens": tokens, "lr": 0.01} for tokens in (128, 256, 512)]
    values = {"proxy": PROXY, "candidates": CANDIDATES, "rungs": rungs, "seeds": [0], "max_epochs": 100.0}
    values |= {"mixing": {"eval_tokens": 64}}
    return build(MixSearchSettings, values | changes, where="mix_search")


def test_a_method_searches_once(tmp_path: Path) -> None:
    tokens = prepare_data(data(tmp_path, "web", "books")).tokens
    s = search(method={"doremi": {}}, candidates={}, rungs=[])
    plan = plan_of(search_mix(tokens, s, target_flops=1e9))
    assert (plan.stage.name, plan.settings["seed"]) == (find_mix.name, 0)
    assert [parent.stage.name for parent in plan.parents] == ["pack"]


def test_candidates_are_tried_at_every_rung_and_one_is_chosen(tmp_path: Path) -> None:
    tokens = prepare_data(data(tmp_path, "web", "books")).tokens
    plan = plan_of(search_mix(tokens, search(seeds=[0, 1]), target_flops=1e9))
    names = [one.stage.name for one in walk(search_mix(tokens, search(seeds=[0, 1]), target_flops=1e9))]
    assert plan.stage.name == choose_mix.name
    assert names.count("try_mix") == 2 * 2 * 3
    assert names.count("find_mix") == 2
    (forecast,) = [parent for parent in plan.parents if parent.stage.name == "forecast_mixes"]
    assert forecast.settings["target_flops"] == 1e9


def test_a_search_of_both_kinds_or_none_is_refused() -> None:
    for changes in ({"method": {"doremi": {}}}, {"candidates": {}}):
        with pytest.raises(SettingsError, match="write a method, or candidates"):
            search(**changes)
    with pytest.raises(SettingsError, match="2 candidates at 0 rungs forecast nothing"):
        search(rungs=[])


def test_a_forecast_beside_what_was_measured_takes_the_target_from_the_runs(tmp_path: Path) -> None:
    tokens = prepare_data(data(tmp_path, "web", "books")).tokens
    s, target = search(), CandidateRun(size=SIZE, tokens=1024, lr=0.01)
    proxy = build(ProxySettings, PROXY, where="proxy")
    tried = try_candidates(
        tokens, s.candidates, (*s.rungs, target), trial=TrialSettings(run=proxy), mixing=s.mixing, seeds=s.seeds
    )
    plan = plan_of(forecast_candidates(tried, target))
    assert {name: len(keys or ()) for name, keys in plan.input_keys.items()} == {"small": 6, "large": 2}
    assert plan.settings == {}
