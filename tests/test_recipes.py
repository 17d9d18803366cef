"""The packaged recipes: each beside a file of its numbers, which are complete or are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe, packaged_presets
from herd.recipes import recipes

FOLDER = Path(__file__).parents[1] / "herd" / "recipes"


def test_every_file_of_numbers_is_that_of_a_recipe_and_the_other_way_round() -> None:
    packaged = {name for name, one in recipes.all().items() if one.__module__ == f"herd.recipes.{name}"}
    assert packaged | packaged_presets(recipes).keys() == {file.stem for file in FOLDER.glob("*.yaml")}
    assert {"tiny", "adapt", "one_round"} <= packaged
    assert all(recipes.get(name).__doc__ for name in packaged)  # which `herd list recipes` prints


def test_tiny_is_planned_as_it_is_and_what_only_a_user_knows_is_asked_for() -> None:
    assert load_recipe("tiny", recipes).plan().key.startswith("write_report-")
    for name in ("adapt", "one_round", "base_model", "continued_pretraining"):
        with pytest.raises(SettingsError, match=f"is not said; write a YAML file with `recipe: {name}`"):
            load_recipe(name, recipes)
