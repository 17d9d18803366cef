"""The settings of a world: alike ones are one world, and everything true in it follows from them."""

from __future__ import annotations

import pytest

from herd.core.errors import SettingsError
from herd.core.settings import build, dump
from herd.world.truth import DEFAULT_WORLD, World


def test_alike_settings_are_one_world_with_the_same_truth() -> None:
    world, other = World(seed=2), World(seed=2)
    assert world == other
    assert hash(world) == hash(other)
    assert world.everybody.facts() == other.everybody.facts()
    assert world.everybody is world.everybody  # made once
    assert World(seed=3).everybody.facts() != world.everybody.facts()


def test_the_share_written_changes_what_is_told_and_nothing_that_is_true() -> None:
    some, everything = World().everybody, World(written_share=1.0, said_unknown_share=0.0).everybody
    assert [fact.value for fact in some.facts()] == [fact.value for fact in everything.facts()]
    groups = ("asked", "alignment", "held out")
    assert all(fact.in_documents for fact in everything.facts(*groups))
    assert not all(fact.in_documents for fact in some.facts(*groups))


def test_a_world_is_written_down_without_what_follows_from_it() -> None:
    DEFAULT_WORLD.everybody  # noqa: B018 - kept with the settings once it is made
    row = dump(DEFAULT_WORLD)
    assert row == {
        "seed": 0,
        "asked_people": 40,
        "alignment_people": 44,
        "held_out_people": 36,
        "strangers": 150,
        "tail_share": 0.3,
        "asked_tail_share": 0.7,
        "written_share": 0.4,
        "written_spread": 0.2,
        "said_unknown_share": 0.2,
        "unknown_share": 0.8,
    }
    assert build(World, row, where="a card") == DEFAULT_WORLD
    with pytest.raises(SettingsError, match="asked_people"):
        build(World, {"asked_people": 0}, where="tiny.yaml")


def test_groups_that_leave_no_tail_and_worlds_that_nobody_tells_of_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"take 1620 of 1600 names .*; make one of them smaller"):
        World(strangers=750)
    with pytest.raises(SettingsError, match="no page tells of anybody; raise one"):
        World(tail_share=0.0, written_share=0.0)
    with pytest.raises(
        SettingsError, match=r"written_share 0.9 and said_unknown_share 0.2 are more than all facts; lower"
    ):
        World(written_share=0.9)
