"""Comparisons in words, tables and JSON."""

from __future__ import annotations

import json

from herd.evals.comparison import compare_runs
from herd.evals.gap_words import comparison_row, paired_words, points_words, summary_words, table_lines
from tests.evals.runs import planted_run
from tests.evals.test_comparison import HUNDRED, solver


def test_a_gap_is_said_with_its_causes_and_the_table_adds_up() -> None:
    first = planted_run("a", lambda item: f"So {item}", HUNDRED, grader="strict")
    second = planted_run("b", solver(60), HUNDRED[:90], grader="flexible")
    found = compare_runs(first, second)
    words = summary_words(found)
    assert words.startswith("b scores 66.7, a 0.0: +66.67 points, of which")
    lines = list(table_lines(found))
    assert any(line.split()[:2] == ["together", "+66.67"] for line in lines)
    assert "McNemar" in paired_words(found)
    row = json.loads(json.dumps(comparison_row(found), allow_nan=False))
    assert sum(part["points"][0] for part in row["parts"]) == found.gap
    assert row["parts"][0]["name"]
    assert set(row["needed"]) == {"1", "2", "5"}


def test_no_gap_is_said_so() -> None:
    first, second = planted_run("a", solver(50), HUNDRED), planted_run("b", solver(50), HUNDRED)
    assert summary_words(compare_runs(first, second)) == "b scores 50.0, a 50.0: no difference."
    lonely = compare_runs(planted_run("a", solver(1), ["n0"]), planted_run("b", solver(0), ["n0"]))
    assert "-100.00" in "\n".join(table_lines(lonely))
    json.dumps(comparison_row(lonely), allow_nan=False)


def test_points_have_signs() -> None:
    assert [points_words(value) for value in (1.0, -0.25, 0.001, float("inf"))] == ["+1.00", "-0.25", "0.00", "-"]
