"""A comparison in words, as a table and as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from herd.core.terminal import count_of
from herd.evals.comparison import CausePart, TaskComparison, join_words
from herd.evals.intervals import Interval

_HOW = {
    "graded again": "stored answers, graded under both settings",
    "measured": "runs that differ in it",
    "what is left": "what is left when all else is equal",
    "cannot be told apart": "cannot be told apart",
    "counted": "items that only one run has a score for",
}


def points_words(points: float) -> str:
    """Such as `+1.2`, with a sign unless it is nothing."""
    if not math.isfinite(points):
        return "-"
    return f"{points:+.2f}" if abs(points) >= 0.005 else "0.00"


def how_words(part: CausePart) -> str:
    """How a part is known, for people."""
    return _HOW[part.how]


def summary_words(comparison: TaskComparison) -> str:
    """What differs, by how much and mostly why, in a sentence or two."""
    first, second = comparison.labels
    gap = comparison.gap
    scores = f"{second} scores {100 * comparison.second.value:.1f}, {first} {100 * comparison.first.value:.1f}"
    if abs(gap) < 0.005:
        return f"{scores}: no difference."
    parts = [part for part in comparison.parts if abs(part.points.value) >= 0.005]
    words = [f"{points_words(part.points.value)} by {part.name}" for part in parts]
    return f"{scores}: {points_words(gap)} points, of which {join_words(words)}." if words else f"{scores}."


def paired_words(comparison: TaskComparison) -> str:
    """The test of both on the same items, and what it takes to see a difference."""
    paired = comparison.paired
    first, second = comparison.labels
    change = Interval(*(100 * value for value in paired.difference))
    needed = [f"{count:,} for {step:g}" for step, count in comparison.needed.items()]
    return (
        f"On {count_of(paired.items, 'item')} of both, {second} is better on {paired.better:,} and {first} on "
        f"{paired.worse:,}: {change.words('+.2f')} points, p = {paired.p_value:.2g} ({paired.test}). As often as these "
        f"differ, points are seen with power .8 on so many items: {', '.join(needed)}."
    )


def table_lines(comparison: TaskComparison) -> Iterator[str]:
    """The parts as lines of text, for a terminal."""
    yield f"{comparison.task}: {summary_words(comparison)}"
    width = max([len(part.name) for part in comparison.parts] + [len("together")])
    for part in comparison.parts:
        interval = part.points
        bounds = f"[{points_words(interval.low)}, {points_words(interval.high)}]" if interval.is_bounded else ""
        yield (
            f"  {part.name:{width}}  {points_words(interval.value):>7}  {bounds:18}  {count_of(part.items, 'item'):>12}"
            f"  {how_words(part)}"
        )
    yield f"  {'together':{width}}  {points_words(comparison.gap):>7}"
    if symptoms := {name: points for name, points in comparison.symptoms.items() if abs(points) >= 0.005}:
        words = [f"{points_words(points)} with {name}" for name, points in symptoms.items()]
        yield f"  of what changed answers: {join_words(words)}"
    yield f"  {paired_words(comparison)}"
    for sentence in comparison.notes:
        yield f"  note: {sentence}"


def comparison_row(comparison: TaskComparison) -> dict[str, Any]:
    """As plain data for JSON, which has no word for infinity: bounds that say nothing are null."""
    row = asdict(comparison)
    row["parts"] = [asdict(part) | {"name": part.name} for part in comparison.parts]
    row["needed"] = {f"{step:g}": count for step, count in comparison.needed.items()}
    return _finite(row)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
