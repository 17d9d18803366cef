"""The packaged recipes: each beside a file of its numbers, which are complete or are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe, packaged_presets, preset_summary
from herd.recipes import recipes

FOLDER = Path(__file__).parents[1] / "herd" / "recipes"


def test_every_file_of_numbers_is_that_of_a_recipe_and_the_other_way_round() -> None:
    packaged = {name for name, one in recipes.all().items() if one.__module__ == f"herd.recipes.{name}"}
    presets = packaged_presets(recipes)
    assert {file.stem for file in FOLDER.glob("*.yaml")} <= packaged | presets.keys()
    assert {"tiny", "adapt", "one_round", "llama3"} <= packaged
    assert all(recipes.get(name).__doc__ for name in packaged)  # which `herd list recipes` prints
    assert {"align", "llama3-8b", "llama3-70b", "llama3-405b"} <= presets.keys()
    assert all(preset_summary(file) for file in presets.values())


def test_tiny_is_planned_as_it_is_and_what_only_a_user_knows_is_asked_for() -> None:
    assert load_recipe("tiny", recipes).plan().key.startswith("write_report-")
    for name in ("adapt", "align", "one_round"):
        with pytest.raises(SettingsError, match=f"is not said; write a YAML file with `recipe: {name}`"):
            load_recipe(name, recipes)
