"""What a recipe's trainings compute in: chosen once, told, and the recipe's own where nothing is another."""

from __future__ import annotations

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.recipes import recipes
from herd.recipes.precision import choose_dtype
from tests.smoke import SMOKE


def test_every_training_that_the_recipe_names_is_in_bf16_and_compiled_where_rows_are_alike() -> None:
    recipe = load_recipe(str(SMOKE), recipes)
    converted, told = choose_dtype(recipe, "bf16")
    s = converted.settings
    trainings = [s.base, *s.longer, s.anneal, s.sft, s.dpo, s.reward]
    assert {training.dtype for training in trainings} == {"bf16"}
    assert [training.compile for training in trainings] == [True] * (len(s.longer) + 3) + [False, False]
    dtypes, compiled = told
    assert dtypes.startswith("base, longer.0, longer.1, anneal, ")
    assert "training in bf16, with weights and their moments in fp32" in dtypes
    assert "dpo" in dtypes
    assert "dpo" not in compiled
    assert choose_dtype(converted, "bf16") == (converted, [])
    back, told = choose_dtype(converted, "fp32")
    assert {training.dtype for training in (back.settings.base, back.settings.sft, back.settings.dpo)} == {"fp32"}
    assert len(told) == 1


def test_a_recipe_for_gpus_stays_as_it_is() -> None:
    for name in ("llama3-8b", "llama3-70b"):
        recipe = load_recipe(name, recipes)
        assert choose_dtype(recipe, "bf16") == (recipe, [])


def test_adapters_are_not_compiled_and_8_bits_want_bf16() -> None:
    adapted = load_recipe(str(SMOKE), recipes, ["sft.lora={rank: 4}"])
    assert not choose_dtype(adapted, "bf16")[0].settings.sft.compile
    eighth = load_recipe(str(SMOKE), recipes, ["base.dtype=bf16", "base.float8=true"])
    with pytest.raises(SettingsError, match="float8 stands beside bf16"):
        choose_dtype(eighth, "fp32")
