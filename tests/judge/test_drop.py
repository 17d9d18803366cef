"""DROP's exact match and F1."""

from __future__ import annotations

import pytest

from herd.judge.drop import drop_golds, drop_scores, grade_drop, normalize_drop

DATE = {"day": "", "month": "", "year": ""}


@pytest.mark.parametrize(
    ("answer", "gold", "em", "f1"),
    [
        ("12", ("12",), 1, 1),
        ("12.0", ("12",), 1, 1),
        ("12 yards", ("12",), 0, 0.67),
        ("13 yards", ("12 yards",), 0, 0),  # another number is never partly right
        ("the Bears", ("Bears",), 1, 1),
        ("Bears and Lions", ("Bears", "Lions"), 0, 0.25),
        (["Lions", "Bears"], ("Bears", "Lions"), 1, 1),
        (["Lions"], ("Bears", "Lions"), 0, 0.5),
        ("$1,000", ("1000",), 1, 1),
        ("", ("a",), 1, 1),
        ("", ("b",), 0, 0),
    ],
)
def test_scores(answer: str | list[str], gold: tuple[str, ...], em: float, f1: float) -> None:
    assert drop_scores([answer] if isinstance(answer, str) else answer, gold) == (em, pytest.approx(f1))


def test_the_best_gold_answer_counts() -> None:
    row = {
        "answer": {"number": "", "date": DATE, "spans": ["Bears", "Lions"]},
        "validated_answers": {
            "number": ["3", "", "3"],
            "date": [DATE, {"day": "5", "month": "May", "year": ""}, DATE],
            "spans": [[], [], []],
        },
    }
    golds = drop_golds(row)
    assert golds == [("Bears", "Lions"), ("3",), ("5 May",)]
    assert grade_drop("3.", golds).parts == {"em": 1, "f1": 1}
    assert grade_drop("6 May", golds).parts == {"em": 0, "f1": 0}
    assert grade_drop("x", [("",)]).score == 0
    assert normalize_drop("The Well-Known 1,5 a") == "well known 15.0"
