"""What models score on tasks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from herd.core.artifacts import Artifact
from herd.evals.intervals import Interval
from herd.evals.results import EvaluationResult, TaskResult, TextResult
from herd.report import plots
from herd.report.plots import svg_markup
from herd.report.sections import Section, fill_template, results_of, sections


@sections.add(EvaluationResult, order=80)
def evaluation_section(artifacts: Sequence[Artifact]) -> Section | None:
    """A row for every task, a column for every model; scores are drawn as well."""
    table = task_table(results_of(artifacts, EvaluationResult))
    html = fill_template(Path(__file__).with_suffix(".html"), **table)
    return Section("evaluation", "Evaluation", html) if table["rows"] else None


def task_table(results: Sequence[EvaluationResult]) -> dict[str, Any]:
    """Labels, rows and the drawing of the section."""
    labels = [result.label for result in results]
    rows, shares = [], {}
    for name in task_names(results):
        scores = [result.tasks.get(name) for result in results]
        questions = max(score.questions for score in scores if score)
        rows.append({"task": name, "questions": questions, "cells": [_cell(score) for score in scores]})
        if not any(isinstance(score, TextResult) for score in scores):
            shares[name] = [_share(score) for score in scores]
    return {"labels": labels, "rows": rows, "drawing": svg_markup(plots.scores(labels, shares)) if shares else ""}


def task_names(results: Sequence[EvaluationResult]) -> list[str]:
    """Every task that was measured, once, as they come."""
    return list(dict.fromkeys(chain.from_iterable(result.tasks for result in results)))


def _share(score: TaskResult | TextResult | None) -> Interval | None:
    return Interval(score.share, score.low, score.high) if isinstance(score, TaskResult) else None


def _cell(score: TaskResult | TextResult | None) -> dict[str, str]:
    if score is None:
        return {"share": "", "interval": ""}
    if isinstance(score, TextResult):
        words = f"{score.bits_per_byte:.3f} bits a byte"
        interval = f"{score.low:.3f} to {score.high:.3f}" if score.questions > 1 else "one text, no interval"
        return {"share": words, "interval": interval}
    return {"share": f"{score.share:.1%}", "interval": f"{score.low:.1%} to {score.high:.1%}"}
