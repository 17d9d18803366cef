"""Figures beside a score, from the grades of its examples."""

from __future__ import annotations

import math

import pytest

from herd.evals.aggregates import majority_of, mean_of, perplexity_of, ratio_of
from herd.evals.task import Grade


def graded(*parts: dict[str, float] | None) -> list[list[Grade]]:
    return [[Grade(None if own is None else 1.0, parts=own or {})] for own in parts]


def test_the_mean_of_a_part_leaves_out_what_is_void_or_has_none() -> None:
    assert mean_of("f1")(graded({"f1": 0.2}, {"f1": 0.6}, None, {"em": 1.0})).value == pytest.approx(0.4)
    assert mean_of("f1")(graded({"f1": 1.0}, {"f1": 0.0})).value == 0.5
    samples = [[Grade(1.0, parts={"f1": 1.0}), Grade(0.0, parts={"f1": 0.0})], [Grade(0.0, parts={"f1": 0.2})]]
    assert mean_of("f1")(samples).value == pytest.approx(0.35)
    assert math.isnan(mean_of("f1")(graded(None)).value)


def test_a_ratio_is_of_all_parts_together() -> None:
    grades = graded({"kept": 1.0, "all": 1.0}, {"kept": 1.0, "all": 3.0})
    assert ratio_of("kept", "all")(grades).value == 0.5
    assert math.isnan(ratio_of("kept", "all")(graded(None)).value)


def test_perplexity_is_e_to_the_mean() -> None:
    found = perplexity_of("nats")(graded({"nats": 1.0}, {"nats": 3.0}))
    assert found.value == pytest.approx(math.exp(2))
    assert found.low <= found.value <= found.high


def test_the_majority_votes_ties_go_to_the_first_and_silence_has_no_vote() -> None:
    def said(*answers: tuple[str, float | None]) -> list[Grade]:
        return [Grade(score, text, unparsed=not text) for text, score in answers]

    rows = [
        said(("4", 1.0), ("5", 0.0), ("4 ", 1.0)),  # right by most
        said(("5", 0.0), ("4", 1.0)),  # a tie, and the first is wrong
        said(("4", 1.0), ("5", 0.0)),
        said(("", 0.0), ("", 0.0), ("4", 1.0)),  # who says nothing does not vote
        said(("", 0.0)),
        said(("4", None)),  # void: no score
    ]
    found = majority_of()(rows)
    assert found.value == pytest.approx(3 / 5)
    assert found.low < 0.6 < found.high
    assert majority_of(lambda text: text[:1])([said(("4.0", 1.0), ("5", 0.0), ("4", 1.0))]).value == 1.0
    assert math.isnan(majority_of()([said(("4", None))]).value)
