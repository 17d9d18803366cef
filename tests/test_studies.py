"""Studies: each is found, answers a question, and runs over seeds to one report that says what it measures on."""

from __future__ import annotations

import inspect

import pytest

from herd.core.recipe import load_recipe
from herd.core.stage import walk
from herd.studies import studies

NAMES = "alignment curation dedup edits mixes rounds self_rewarding translation upsampling".split()


def test_all_packaged_studies_are_found() -> None:
    assert sorted(studies.all()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_study_asks_a_question_and_ends_in_one_report(name: str) -> None:
    function = studies.get(name)
    assert (inspect.getmodule(function).__doc__ or "").strip().partition("\n")[0].endswith("?")  # type: ignore[union-attr]
    plans = walk(load_recipe(name, studies).plan())
    assert [plan.stage.name for plan in plans].count("write_report") == 1
    assert plans[-1].stage.name == "write_report"
    assert plans[-1].settings["title"]
    again = walk(load_recipe(name, studies).plan())
    assert [plan.key for plan in again] == [plan.key for plan in plans]
