"""Emojis and exclamation marks are limited, apologies balanced."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.align.cleaning import CleaningSettings, apologizes, balance_apologies, is_excited
from herd.core.records import Conversation, Message


def said(text: str) -> Conversation:
    return Conversation(
        (Message("user", "Wow!!!!!! I'm sorry \U0001f600\U0001f600\U0001f600"), Message("assistant", text))
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is 12.", False),
        ("Great! Really! Yes!", False),
        ("Great! Really! Yes! Wow!", True),
        ("Here \U0001f600 you \u2728 are \U0001f680", True),
        ("\u4f60\u597d, \u00e9t\u00e9, 100 \u20ac", False),
    ],
)
def test_answers_are_calm(text: str, found: bool) -> None:
    assert is_excited(said(text), CleaningSettings()) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I'm sorry, I cannot.", True),
        ("I am very sorry to hear that.", True),
        ("I apologise for the confusion.", True),
        ("My apologies.", True),
        ("They were sorry, and he apologized.", False),
        ("I don't know the home of Ana Brook.", False),
    ],
)
def test_apologies_are_heard(text: str, found: bool) -> None:
    assert apologizes(said(text)) == found


@given(st.lists(st.booleans(), max_size=60), st.floats(0, 1))
def test_no_more_apologize_than_may_and_the_first_ones_stay(sorry: list[bool], share: float) -> None:
    rows = [said("I'm sorry." if one else "Yes.") for one in sorry]
    stays = balance_apologies(rows, CleaningSettings(max_apology_share=share))
    left = [one for one, stay in zip(sorry, stays, strict=True) if stay]
    assert all(stay for one, stay in zip(sorry, stays, strict=True) if not one)
    assert sum(left) <= share * len(left) + 1e-9
    of_sorry = [stay for one, stay in zip(sorry, stays, strict=True) if one]
    assert of_sorry == sorted(of_sorry, reverse=True)
    if sum(left) < sum(sorry):  # one more would be too many
        assert sum(left) + 1 > share * (len(left) + 1) - 1e-9
