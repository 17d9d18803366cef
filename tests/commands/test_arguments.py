"""Numbers as people write them on a command line."""

from __future__ import annotations

import argparse

import pytest

from herd.commands.arguments import add_plugins, amount, bounded_number


@pytest.mark.parametrize(
    ("text", "value"),
    [("8192", 8192), ("16k", 16_000), ("15.6T", 15_600_000_000_000), ("4M", 4_000_000), ("1_000", 1000)],
)
def test_amounts_have_endings(text: str, value: int) -> None:
    assert amount(text) == value


@pytest.mark.parametrize(
    ("text", "words"), [("many", "is no number"), ("0", "is not above zero"), ("infk", "no number")]
)
def test_an_amount_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        amount(text)


def test_numbers_have_bounds() -> None:
    assert bounded_number(0, 10)("10") == 10
    assert bounded_number(0.5)("0.5") == 0.5
    for read, text, words in (
        (bounded_number(0, 10), "11", "give from 0 to 10"),
        (bounded_number(0), "0.5", "no whole number"),
        (bounded_number(0.0), "nan", "give 0.0 or more"),
        (bounded_number(0.0), "inf", "give 0.0 or more"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=words):
            read(text)


def test_files_of_plugins_add_up() -> None:
    parser = argparse.ArgumentParser()
    add_plugins(parser)
    assert parser.parse_args([]).plugins == []
    assert parser.parse_args(["--plugins", "a.py", "--plugins", "b.py"]).plugins == ["a.py", "b.py"]
