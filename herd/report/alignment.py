"""The report's part about what each step of alignment gained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from herd.core.artifacts import Artifact
from herd.report import plots


def alignment(made: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Tables of steps and of ways to learn from preferences, and the picture of best-of-K; nothing where no steps were
    compared."""
    found = [one.figures["alignment"] for one in made if "alignment" in one.figures]
    return [part for result in found for part in _parts(result)]


def _parts(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    value, low, high = result["ranked_right"]
    yield {
        "title": f"Steps, by {result['task']}",
        "words": f"{result['seeds']} seeds; gains over the step before, paired by seed, with Student's 95 % intervals. "
        f"Reward models rank {value:.0%} [{low:.0%}, {high:.0%}] of held-out pairs as people do.",
        "head": ("step", "right", "gain"),
        "rows": [(row["step"], f"{row['share']:.1%}", _gain(row["gain"])) for row in result["rows"]],
    }
    yield {
        "title": "Ways to learn from the same preferences",
        "words": "How far the log-probability of chosen and of rejected answers moved from where the way began, in "
        "nats, and the gain over that model.",
        "head": ("way", "chosen", "rejected", "gain"),
        "rows": [
            (row["way"], _gain(row["chosen"]), _gain(row["rejected"]), _gain(row["gain"])) for row in result["ways"]
        ],
    }
    names = [name for name in ("gold", "right") if result["best_of"] and name in result["best_of"][0]]
    if names:
        curves = {name: [(row["k"], *row[name]) for row in result["best_of"]] for name in names}
        yield {
            "title": "The best of K answers",
            "words": "The share of prompts for which the answer that the reward model likes best is right, over how "
            "many answers it chooses from.",
            "drawing": plots.drawn(plots.curve_with_band(curves, "answers", "right")),
        }


def _gain(found: Sequence[float]) -> str:
    value, low, high = found
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
