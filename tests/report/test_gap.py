"""The page of two evaluations."""

from __future__ import annotations

from dataclasses import replace

from herd.evals.comparison import compare_runs
from herd.report.gap import render_gap
from tests.evals.runs import planted_run
from tests.evals.test_comparison import HUNDRED, solver
from tests.report.test_answers import EVIL, data_of


def test_causes_items_and_both_answers_are_on_the_page() -> None:
    def second_model(item: str) -> str:
        return f"So {item}" if int(item[1:]) < 20 else solver(60)(item)

    first = planted_run("<b>a", solver(50), HUNDRED)
    second = planted_run("b", second_model, HUNDRED, grader="flexible")
    second = replace(second, notes=(EVIL,))
    page = render_gap([(compare_runs(first, second), first, second)])
    body = page.split("<body>")[1]
    assert "built-in" not in body
    assert "<b>a" not in body
    assert "alert(1)</script>" not in page
    assert "Why they differ" in body
    for cause in ("models", "extraction"):
        assert f'<td class="name">{cause}</td>' in body
    items = data_of(page)
    assert len(items) == 100
    acted = [item for item in items if item["tags"] != ["no cause acts on it"]]
    assert items[: len(acted)] == acted
    labels = [label for label, _ in acted[0]["blocks"]]
    assert labels[0] == "points"
    assert any(label.startswith("<b>a, ") for label in labels)
    assert any(label.startswith("b, ") for label in labels)
