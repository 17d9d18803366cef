"""Checks that know what is right: numbers and words, and None where nothing can be told."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.records import Conversation, Message
from herd.judge.verifiers import verifiers
from herd.judge.verifiers.number import last_number

PROMPT = Conversation((Message("user", "?"),))


def said(text: str) -> Message:
    return Message("assistant", text)


def test_numbers_are_read_as_in_gsm8k() -> None:
    assert last_number("so 12 + 3 = 15.\n#### 1,015") == 1015
    assert last_number("it is 7.50 dollars") == last_number("7.5")
    assert last_number("none") is None
    check, prompt = verifiers.get("numeric_match"), Conversation((Message("user", "?"),))
    known = Message("assistant", "#### 42")
    assert check(prompt, Message("assistant", "That makes 42."), known) is True
    assert check(prompt, Message("assistant", "41"), known) is False
    assert check(prompt, Message("assistant", "42"), None) is None
    assert check(prompt, Message("assistant", "42"), Message("assistant", "no idea")) is None
    assert (
        verifiers.get("exact_match")(prompt, Message("assistant", " Yes\nsir"), Message("assistant", "yes SIR")) is True
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("#### 5\nand then 6", "6"),  # behind the mark the last one counts
        ("#### 5 #### 7", "7"),
        ("12 of them ####", "12"),  # nothing behind the mark
        ("-3 degrees", "-3"),
        ("it is -.5", "-0.5"),
        ("1,234,567.80 dollars.", "1234567.8"),
        ("from 3 to 4.", "4"),
        ("$18", "18"),
        ("no number", None),
        ("", None),
    ],
)
def test_the_number_that_counts_is_the_last(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


@given(st.integers(-(10**12), 10**12), st.integers(0, 3))
def test_a_number_is_the_same_however_it_is_written(value: int, zeros: int) -> None:
    check = verifiers.get("numeric_match")
    written = f"{value:,}" + ("." + "0" * zeros if zeros else "")
    assert check(PROMPT, said(f"First 7, so it is {written}."), said(f"#### {value}")) is True
    assert check(PROMPT, said(f"It is {value + 1}"), said(f"#### {value}")) is False
    assert check(PROMPT, said("I cannot say"), said(f"#### {value}")) is False


@pytest.mark.parametrize(
    ("answer", "known", "right"),
    [
        (" Yes\n sir ", "yes SIR", True),
        ("STRASSE", "straße", True),
        ("yes", "yes.", False),
        ("", "", True),
        ("yessir", "yes sir", False),
    ],
)
def test_words_are_the_same_but_for_case_and_blanks(answer: str, known: str, right: bool) -> None:
    assert verifiers.get("exact_match")(PROMPT, said(answer), said(known)) is right
    assert verifiers.get("exact_match")(PROMPT, said(answer), None) is None


def test_checks_are_found_by_their_files() -> None:
    assert {"exact_match", "numeric_match"} <= set(verifiers.all())


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The home of Bo is Rome.", True),
        ("It is ROME! The sport of Bo is golf.", True),
        ("the home of bo: is rome", True),
        ("Romeo", False),
        ("", False),
    ],
)
def test_an_answer_may_say_more_than_the_known_one(answer: str, right: bool) -> None:
    check = verifiers.get("includes")
    reference = said("Rome.") if "home" not in answer else said("home of Bo is Rome")
    assert check(PROMPT, said(answer), reference) is right
    assert check(PROMPT, said(answer), None) is None
    assert check(PROMPT, said(answer), said("...")) is None
    assert check(PROMPT, said("it is 112"), said("12")) is False
