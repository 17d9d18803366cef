"""What is said of wrong settings where a value may be of several types: the sentence is of the type that was meant."""

from __future__ import annotations

from typing import Literal

import pytest

from herd.core.errors import SettingsError
from herd.core.setting_errors import alternatives
from herd.core.settings import AddedLater, PositiveInt, Share, build, settings


@settings
class Phase:
    until: Share


@settings
class Proportional:
    max_epochs: PositiveInt = 4


@settings
class Mixed:
    mix: tuple[Phase, ...] | Proportional = Proportional()
    again: AddedLater[tuple[Phase, ...] | Proportional | None] = None
    recompute: bool | Literal["selective"] = False


@pytest.mark.parametrize("name", ["mix", "again"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"max_epoch": 3}, "{}.max_epoch is not a setting; did you mean 'max_epochs'?"),
        ({"max_epochs": 0}, "{}.max_epochs is 0; it should be greater than 0"),
        ([{"until": 0.5}, {"until": 2}], "{}.1.until is 2; it should be less than or equal to 1"),
        (
            [{"untl": 1}],
            "{}.0.until is missing; give it a value\nhere: {}.0.untl is not a setting; did you mean 'until'?",
        ),
        (3, "{} is 3; it should be array\nhere: {} is 3; it should be an object"),
    ],
)
def test_the_sentence_is_of_the_type_that_came_furthest(name: str, value: object, words: str) -> None:
    with pytest.raises(SettingsError) as fault:
        build(Mixed, {name: value}, where="here")
    assert str(fault.value) == f"here: {words.replace('{}', name)}"


def test_a_choice_between_words_and_truth_names_both() -> None:
    with pytest.raises(SettingsError) as fault:
        build(Mixed, {"recompute": "sel"}, where="here")
    assert str(fault.value) == (
        'here: recompute is "sel"; it should be boolean\nhere: recompute is "sel"; it should be \'selective\''
    )


def test_choices_are_taken_apart_whatever_is_written_about_them() -> None:
    assert list(alternatives(int | None)) == [int, type(None)]
    assert set(alternatives(AddedLater[int | str])) >= {int, str}
    assert list(alternatives(Share)) == [Share]
