"""One answer out of many samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.votes import best_scored, majority_answer
from tests.judge.data import rows


def test_ties_are_won_by_the_first() -> None:
    assert majority_answer(["a", "b", "b", "a"]) == 0
    assert majority_answer(["c", "b", "b"]) == 1
    assert best_scored([1.0, 2.0, 2.0]) == 1
    with pytest.raises(ValueError, match="no samples"):
        majority_answer([])


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9))
def test_the_winner_is_the_first_of_its_kind(answers: list[str]) -> None:
    winner = majority_answer(answers)
    assert answers[winner] not in answers[:winner]
    assert all(answers.count(answers[winner]) >= answers.count(other) for other in answers)


def test_published_figures_of_best_of_eight() -> None:
    """Source: reference numbers of the shared data, computed by Qwen2.5-Math's rm_maj_eval."""
    problems = rows("math_best_of_n/math_cot_8samples.jsonl.gz")
    figures = {
        "first": sum(row["score"][0] for row in problems),
        "maj@8": sum(row["score"][majority_answer(row["pred"])] for row in problems),
        "rm@8": sum(row["score"][best_scored([score for score, *_ in row["pred_score"]])] for row in problems),
        "pass@8": sum(any(row["score"]) for row in problems),
    }
    rounded = {name: round(count / len(problems), 3) for name, count in figures.items()}
    assert rounded == {"first": 0.886, "maj@8": 0.914, "rm@8": 0.929, "pass@8": 0.957}
