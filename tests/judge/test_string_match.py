"""RULER's two scores, on cases worked out by hand."""

from __future__ import annotations

import pytest

from herd.judge.string_match import string_match_all, string_match_part


@pytest.mark.parametrize(
    ("answer", "references", "share", "any_of"),
    [
        ("It is 123 and 456.", ["123", "456"], 1.0, 1.0),
        ("123", ["123", "456", "789", "000"], 0.25, 1.0),
        ("", ["123"], 0.0, 0.0),
        ("RIVER two", ["river Two"], 1.0, 1.0),
        ("1234", ["123"], 1.0, 1.0),  # part of a longer word, as the official code has it
        ("one\ttwo", ["one two"], 0.0, 0.0),
    ],
)
def test_references_are_found_in_an_answer(answer: str, references: list[str], share: float, any_of: float) -> None:
    assert string_match_all(answer, references) == share
    assert string_match_part(answer, references) == any_of
