"""Packaged sources beside a user's own files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.core.recipe import load_recipe
from herd.core.stage import plan_of
from herd.recipes import recipes
from herd.recipes.tiny_data import TinyDataSettings, data_of
from tests.smoke import SMOKE


@pytest.fixture(scope="module")
def settings() -> TinyDataSettings:
    return data_of(load_recipe(str(SMOKE), recipes).settings)


def test_the_sources_that_are_named_are_planned_in_their_order_and_ones_own_files_last(
    settings: TinyDataSettings, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("A text.")
    own = data_of(settings, sources=("world", "python_docs"), files={"mine": (str(tmp_path / "a.txt"),)})
    assert [plan_of(one).stage.name for one in own.crawls()] == ["world_pages", "python_docs", "load_files"]
    assert own.source_names == {"mine", "web", *settings.pages.documents}
    assert data_of(own, sources=("wikipedia",), files={}).source_names == {"wiki"}
    assert data_of(own, sources=()).source_names == {"mine"}
    assert [plan_of(one).stage.name for one in data_of(own, sources=("wikipedia",), files={}).crawls()] == ["wikipedia"]


def test_the_data_of_a_recipe_is_all_of_it_but_what_is_changed(settings: TinyDataSettings) -> None:
    recipe = load_recipe(str(SMOKE), recipes).settings
    assert type(settings) is TinyDataSettings
    assert [one.key for one in settings.crawls()] == [one.key for one in recipe.crawls()]
    changed = data_of(recipe, world=replace(recipe.world, strangers=recipe.world.strangers + 8))
    assert changed != settings
    assert data_of(changed, world=recipe.world) == settings


def test_a_source_that_is_not_packaged_is_refused() -> None:
    with pytest.raises(SettingsError, match="sources"):
        load_recipe(str(SMOKE), recipes, ["sources=[wikipedai]"])
