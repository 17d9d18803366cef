"""What an answer says, out of the words around it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.extraction import (
    BBH_ZEROSHOT_MATCH,
    ExactMatch,
    choice_letter,
    grade_answer_is,
    grade_bare_letter,
    grade_choice,
    grade_letter,
    regex_answer,
)

CHOICES = ("Guilty", "Guilty of Romance", "Not guilty")


@pytest.mark.parametrize(
    ("answer", "pattern", "score", "letter"),
    [
        ("I think the best answer is B.", "best_answer", 1, "B"),
        ("The best answer is A. No: the best answer is B", "best_answer", 1, "B"),
        ("The answer is B.", "best_answer", 0, ""),
        ("So the answer is (B).", "mmlu_pro", 1, "B"),
        ("the answer is B, or the answer is C", "mmlu_pro", 1, "B"),
        ("the answer is K", "mmlu_pro", 0, ""),
        ("best answer is B", "mmlu_pro_llama", 0, ""),
        ("Answer: (B) because", "answer_colon", 1, "B"),
        ("Answer: Because", "answer_colon", 0, ""),
        ("the best answer is b", "best_answer", 0, ""),
    ],
)
def test_letters_are_found_where_each_task_looks(answer: str, pattern: str, score: float, letter: str) -> None:
    verdict = grade_letter(answer, "B", pattern=pattern)
    assert (verdict.score, verdict.extracted) == (score, letter)
    assert verdict.unparsed is (letter == "")


@pytest.mark.parametrize(("answer", "score"), [(" B", 1), ("B.", 1), ("b", 1), ("B because", 0), ("", 0)])
def test_an_answer_after_a_prefix_is_the_letter_alone(answer: str, score: float) -> None:
    assert grade_bare_letter(answer, "B").score == score


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("It is (B).", "(B)"),
        ("First (A), then (C)", "(C)"),
        ("guilty of romance!", "(B)"),  # not A, with which it begins
        ("He is not guilty", "(C)"),
        ("Answer: A", "(A)"),
        ("Who knows", None),
    ],
)
def test_a_choice_is_named_by_letter_or_words(answer: str, letter: str | None) -> None:
    assert choice_letter(answer, CHOICES) == letter
    assert grade_choice(answer, "(B)", CHOICES).score == float(letter == "(B)")


@pytest.mark.parametrize(
    ("answer", "target", "pattern", "score"),
    [
        ("So the answer is True.", "True", "bbh", 1),
        ("So the answer is True", "Tru", "bbh", 1),  # whatever the last sign is, it goes
        ("So the answer is (A).\nMore", "(A)", "bbh", 1),
        ("The answer: valid.", "valid", "bbh", 0),
        ("The answer: Valid.", "valid", "bbh_zeroshot", 1),
        ('The answer is "b, c".', "b c", "bbh_zeroshot", 1),
        ("The answer is (C).", "(C)", "gpqa", 1),
    ],
)
def test_what_the_answer_is_said_to_be(answer: str, target: str, pattern: str, score: float) -> None:
    assert grade_answer_is(answer, target, pattern=pattern).score == score


def test_exact_match_takes_out_what_it_is_told() -> None:
    match = ExactMatch(True, True, (r"\$", r"\.$"))
    assert match.normalize("$A.B!") == "ab"
    assert match.matches("yes.", ["no", "Yes"])
    assert not ExactMatch().matches("yes", ["Yes"])
    assert BBH_ZEROSHOT_MATCH.normalize('A,\n"b"\\.') == "ab"


def test_the_first_group_that_is_not_empty_counts() -> None:
    assert regex_answer(re.compile(r"(a)|(b)"), "xb") == "b"
    assert regex_answer(re.compile(r"(a*)(b*)"), "") is None
    assert regex_answer(re.compile(r"c"), "ab") is None


@given(st.text(max_size=60))
def test_any_text_has_a_verdict(text: str) -> None:
    assert grade_letter(text, "A").score in (0.0, 1.0)
    assert grade_choice(text, "(A)", CHOICES).score in (0.0, 1.0)
    assert grade_answer_is(text, "x", pattern="bbh_zeroshot").score in (0.0, 1.0)


def test_hostile_text_is_read_in_linear_time() -> None:
    start = time.process_time()
    for text in ("the answer is " * 7000, "answer is (" * 9000, "(" * 10**5, "best answer is " * 6500):
        grade_letter(text, "A", pattern="mmlu_pro")
        grade_letter(text, "A")
        grade_answer_is(text, "x", pattern="bbh_zeroshot")
        choice_letter(text, CHOICES)
    assert time.process_time() - start < 20
