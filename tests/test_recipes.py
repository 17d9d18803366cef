"""The packaged recipes: each beside a file of its numbers, which are complete or are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe, packaged_presets, preset_summary
from herd.core.settings import read_yaml
from herd.recipes import recipes

FOLDER = Path(__file__).parents[1] / "herd" / "recipes"


def test_every_file_of_numbers_is_that_of_a_recipe_and_the_other_way_round() -> None:
    """Of a recipe's own name, or a preset that names one: then `herd run` takes the preset's."""
    packaged = {name for name, one in recipes.all().items() if one.__module__.startswith("herd.recipes.")}
    presets = packaged_presets(recipes)
    own = {file.stem for file in FOLDER.glob("*.yaml")} - presets.keys()
    named_by_presets = {read_yaml(file)[0]["recipe"] for file in presets.values()}
    assert packaged == own | named_by_presets - presets.keys()
    assert {"tiny", "adapt", "one_round"} <= own
    assert {
        "align",
        "pretrain",
        "continue",
        "30m",
        "150m",
        "1b",
        "sft",
        "dpo",
        "reward",
        "llama3-8b",
        "llama3-70b",
        "llama3-405b",
    } <= presets.keys()
    assert all(recipes.get(name).__doc__ for name in packaged)  # which `herd list recipes` prints
    assert all(map(preset_summary, presets.values()))


def test_tiny_is_planned_as_it_is_and_what_only_a_user_knows_is_asked_for() -> None:
    assert load_recipe("tiny", recipes).plan().key.startswith("write_report-")
    for name in ("adapt", "align", "one_round", "sft", "dpo", "reward", "base_model", "continued_pretraining"):
        with pytest.raises(SettingsError, match=f"is not said; write a YAML file with `recipe: {name}`"):
            load_recipe(name, recipes)
