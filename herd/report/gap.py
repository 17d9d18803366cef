"""The page of two evaluations: why their scores differ, and both answers to every item on which a cause acted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from herd.evals.answer_runs import AnswerRun
from herd.evals.comparison import ITEMS, TaskComparison
from herd.evals.gap_words import how_words, paired_words, points_words, summary_words
from herd.evals.intervals import Interval
from herd.report.answers import answer_blocks, bar_of, one_line, render_items, shorten, verdict_tags
from herd.report.sections import fill_template

SAME = "no cause acts on it"


def render_gap(pairs: Sequence[tuple[TaskComparison, AnswerRun, AnswerRun]]) -> str:
    """One self-contained HTML page. pairs: of every task the comparison, and the two runs it compares."""
    summary = fill_template(
        Path(__file__).with_name("gap.html"), tasks=[_task_row(comparison) for comparison, _, _ in pairs]
    )
    first, second = pairs[0][0].labels
    causes = sorted(set(chain.from_iterable(comparison.item_points for comparison, _, _ in pairs)))
    items = chain.from_iterable(_items(*pair) for pair in pairs)
    notes = [f"Points are what a cause adds to the score of {second} over that of {first}, out of 100."]
    return render_items(
        f"Why {second} and {first} differ", items, summary, tags=(*causes, SAME), tag_label="cause", notes=notes
    )


def _task_row(comparison: TaskComparison) -> dict[str, Any]:
    bounds = [bound for bound in chain.from_iterable(part.points for part in comparison.parts) if abs(bound) <= 100]
    least, most = min(0.0, *bounds), max(0.0, *bounds)
    parts = []
    for part in comparison.parts:
        parts.append(_part_row(part.name, part.points, part.items, how_words(part), least, most))
        if not set(part.causes).isdisjoint({"models", "other draws"}) and comparison.symptoms:
            parts += [_symptom_row(name, points) for name, points in comparison.symptoms.items() if points]
    scores = zip(comparison.labels, (comparison.first, comparison.second), comparison.counts, strict=True)
    return {
        "name": comparison.task,
        "words": summary_words(comparison),
        "scores": [
            {
                "name": label,
                "bar": bar_of(score, 0.0, 1.0),
                "score": f"{score.value:.3f}",
                "interval": f"{score.low:.3f} to {score.high:.3f}" if score.is_bounded else "",
                "count": f"{count:,}",
            }
            for label, score, count in scores
        ],
        "parts": parts,
        "zero": bar_of(Interval(0.0, 0.0, 0.0), least, most)[2],
        "gap": points_words(comparison.gap),
        "notes": [paired_words(comparison), *comparison.notes],
    }


def _part_row(name: str, points: Interval, items: int, how: str, least: float, most: float) -> dict[str, Any]:
    interval = f"{points_words(points.low)} to {points_words(points.high)}" if points.is_bounded else ""
    return {
        "name": name,
        "is_detail": False,
        "bar": bar_of(points, least, most),
        "points": points_words(points.value),
        "interval": interval,
        "count": f"{items:,}",
        "how": how,
    }


def _symptom_row(name: str, points: float) -> dict[str, Any]:
    return {
        "name": f"by {name}",
        "is_detail": True,
        "bar": None,
        "points": points_words(points),
        "interval": "",
        "count": "",
        "how": "part of what changed answers",
    }


def _items(comparison: TaskComparison, first: AnswerRun, second: AnswerRun) -> Iterator[Mapping[str, Any]]:
    """Items on which a cause acts, those on which it acts most first, and then the others."""
    weights: dict[str, float] = {}
    tags: dict[str, list[str]] = {}
    for cause, by_item in comparison.item_points.items():
        for name, points in by_item.items():
            weights[name] = max(weights.get(name, 0.0), abs(points))
            tags.setdefault(name, []).append(cause)
    common = sorted(first.records.keys() & second.records, key=lambda name: (-weights.get(name, 0.0), name))
    for name in common:
        record = first.records[name][0]
        blocks = []
        for run in (first, second):
            for answer in run.records[name]:
                verdict = ", ".join(verdict_tags(answer))
                label = f"{run.label}, {verdict}" + (f", sample {answer.sample + 1}" if answer.sample else "")
                blocks += [(f"{label}: {part}", text) for part, text in answer_blocks(answer) if part != "target"]
        points_by_cause = [
            f"{cause}: {points_words(100 * by_item[name])}"
            for cause, by_item in comparison.item_points.items()
            if name in by_item and cause != ITEMS
        ]
        if record.target:
            blocks.append(("target", shorten(record.target, 1_000)))
        yield {
            "task": comparison.task,
            "id": name,
            "group": record.group,
            "head": one_line(record.asked),
            "tags": tags.get(name, [SAME]),
            "blocks": [*([("points", "\n".join(points_by_cause))] if points_by_cause else []), *blocks],
        }
