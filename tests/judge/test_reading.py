"""Answers to questions about a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.reading import (
    QUAC_NO_ANSWER,
    grade_aliases,
    grade_quac,
    grade_squad,
    human_f1,
    leave_one_out_f1,
    span_f1,
)


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "f1"),
    [
        ("The Denver Broncos!", ["Denver Broncos"], 1, 1),
        ("Denver", ["Denver Broncos", "Broncos"], 0, 2 / 3),
        ("", [], 1, 1),
        ("", ["the"], 1, 1),  # a gold answer of an article alone is none
        ("Denver", [], 0, 0),
        ("unanswerable", [], 1, 1),
        ("unanswerable", ["x"], 0, 0),
    ],
)
def test_squad(answer: str, golds: list[str], exact: float, f1: float) -> None:
    verdict = grade_squad(answer, golds, no_answer=("Unanswerable.",))
    assert verdict.parts == pytest.approx({"exact": exact, "f1": f1})
    assert verdict.score == exact


def test_squad_knows_no_words_for_no_answer_by_itself() -> None:
    assert grade_squad("unanswerable", []).score == 0


@pytest.mark.parametrize(
    ("answer", "rules", "right"),
    [
        ("Sinclair Lewis", "triviaqa", True),
        (" sinclair lewis.", "triviaqa", True),
        ("The Sinclair Lewis", "triviaqa", False),
        ("The Sinclair Lewis", "official", True),
        ("Sinclair_Lewis", "official", True),
        ("Sinclair-Lewis", "official", True),
        ("the Sinclair Lewis", "nq_open", True),
        ("A Sinclair Lewis!", "nq_official", True),
        ("Lewis", "official", False),
    ],
)
def test_aliases(answer: str, rules: str, right: bool) -> None:
    assert grade_aliases(answer, ["Harry S. Lewis", "Sinclair Lewis"], rules=rules).score == right  # type: ignore[arg-type]


def test_quac_leaves_each_annotator_out_once() -> None:
    golds = ["in the old town", "old town", "the town"]
    assert human_f1(golds) == pytest.approx((0.8 + 0.8 + 2 / 3) / 3)
    assert leave_one_out_f1("old town", golds) == pytest.approx((1 + 0.8 + 1) / 3)
    verdict = grade_quac("old town", golds, yes_no="y", affirms="n")
    assert verdict.parts["heq"] == 1
    assert verdict.parts["yes_no"] == 0
    assert grade_quac("old town", ["old town"]).parts == {"f1": 1, "human_f1": 1, "heq": 1}


def test_quac_without_an_answer() -> None:
    golds = [QUAC_NO_ANSWER, "x", QUAC_NO_ANSWER, "y"]
    assert grade_quac(QUAC_NO_ANSWER, golds).score == 1
    assert grade_quac("I do not know", golds, no_answer=("I do not know",)).score == 1
    assert grade_quac("x", golds).score == 0
    assert grade_quac("x", [QUAC_NO_ANSWER, "x", "x"]).score == 1
    assert grade_quac(QUAC_NO_ANSWER, [QUAC_NO_ANSWER, "x", "x"]).score == 0
    low = grade_quac("a", ["b c", "d e", "f g"])
    assert low.score is None
    assert "0.00" in low.reason


WORDS = st.text(alphabet="ab the.-'", max_size=30)


@given(WORDS, WORDS)
def test_f1_is_symmetric_and_one_for_equals(first: str, second: str) -> None:
    assert span_f1(first, second) == pytest.approx(span_f1(second, first))
    assert span_f1(first, first) == 1
    assert 0 <= span_f1(first, second) <= 1
