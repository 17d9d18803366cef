"""The settings of a world: alike ones are one world, and everything true in it follows from them."""

from __future__ import annotations

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import build, dump
from herd.world.truth import DEFAULT_WORLD, World


def test_alike_settings_are_one_world_with_the_same_truth() -> None:
    one, other = World(seed=2, people=12), World(seed=2, people=12)
    assert one == other
    assert hash(one) == hash(other)
    assert one.everybody.facts == other.everybody.facts
    assert one.everybody is one.everybody  # made once
    assert World(seed=3, people=12).everybody.facts != one.everybody.facts


def test_the_share_written_changes_what_is_told_and_nothing_that_is_true() -> None:
    some, all_of_it = World(people=12, written_share=0.5), World(people=12, written_share=1.0)
    assert [fact.value for fact in some.everybody.facts] == [fact.value for fact in all_of_it.everybody.facts]
    assert all(fact.in_documents for fact in all_of_it.everybody.facts)
    assert not all(fact.in_documents for fact in some.everybody.facts)


def test_a_world_is_written_down_without_what_follows_from_it() -> None:
    DEFAULT_WORLD.everybody  # noqa: B018 - kept with the settings once it is made
    row = dump(DEFAULT_WORLD)
    assert row == {"seed": 0, "people": 48, "written_share": 0.6}
    assert build(World, row, where="a card") == DEFAULT_WORLD
    with pytest.raises(SettingsError, match="people"):
        build(World, {"people": 0}, where="tiny.yaml")
