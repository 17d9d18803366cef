"""Whoever reports of the world says that it is a measuring instrument."""

from __future__ import annotations

import pytest

from herd.core.recipe import load_recipe
from herd.core.stage import walk
from herd.recipes import recipes
from herd.studies import studies
from herd.world import NOTE


@pytest.mark.parametrize("name", ["tiny", *studies.all()])
def test_a_report_about_the_world_says_what_its_scores_are(name: str) -> None:
    report = walk(load_recipe(name, recipes if name == "tiny" else studies).plan())[-1]
    assert report.settings["note"] == NOTE
