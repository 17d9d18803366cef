"""What is said of a score: intervals, groups, what could not be read."""

from __future__ import annotations

import pytest

from herd.core.results import results
from herd.evals.intervals import Interval
from herd.evals.results import EvaluationResult, GroupShare
from herd.evals.scores import GradedAnswer, TaskScore
from herd.evals.task import Grade

ANSWERS = tuple(
    GradedAnswer(str(number), "asked", "said", Grade(score, unparsed=score == 0))
    for number, score in enumerate((1, 0, 1))
)


def test_groups_count_alike_whatever_their_size() -> None:
    score = TaskScore((1.0, 1.0, 1.0, 0.0, None), groups=("law", "law", "law", "art", "art"))
    assert score.interval.value == 0.75
    assert score.macro is not None
    assert score.macro.value == 0.5
    result = score.result()
    assert result.groups == {"art": GroupShare(0.0, 1), "law": GroupShare(1.0, 3)}
    assert "macro 0.500" in str(score)
    assert "2 groups" in str(score)


def test_without_groups_there_is_no_mean_over_them() -> None:
    score = TaskScore((1.0, 0.0))
    assert score.macro is None
    assert score.result().groups == {}
    assert "macro" not in str(score)


def test_what_was_not_read_and_what_was_cut_is_counted_and_told() -> None:
    score = TaskScore((1.0, 0.0, 1.0), ANSWERS, left_truncated=2, metrics={"f1": Interval(0.5, 0.4, 0.6)}, notes=("x",))
    assert score.unparsed == 1
    result = score.result()
    assert (result.unparsed, result.left_truncated, result.notes) == (1, 2, ("x",))
    for words in ("1 answer unparsed", "2 prompts truncated", "f1 0.500 [0.400, 0.600]"):
        assert words in str(score)


def test_what_is_recorded_is_read_back_and_so_are_rows_from_before() -> None:
    score = TaskScore((1.0, 0.0), groups=("a", "b"), metrics={"f1": Interval(0.5, 0.4, 0.6)})
    recorded = EvaluationResult("base", False, {"task": score.result()})
    row = results.to_row(recorded)
    assert results.from_row(EvaluationResult, row, "here") == recorded
    for name in ("unparsed", "left_truncated", "macro", "groups", "metrics", "notes"):
        del row["tasks"]["task"][name]
    older = results.from_row(EvaluationResult, row | {"version": 2}, "here")
    assert older.tasks["task"].low == pytest.approx(recorded.tasks["task"].low)
