"""The report's part about what each step of alignment gained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from herd.core.artifacts import Artifact
from herd.report import plots


def alignment(made: Sequence[Artifact]) -> list[dict[str, Any]]:
    """Tables of steps and of ways to learn from preferences, the picture of best-of-K, sets of dialogues, and rounds
    one against another; nothing where nothing was compared."""
    compared = [part for one in made if "alignment" in one.figures for part in _parts(one.figures["alignment"])]
    compared += [part for one in made if "sets" in one.figures for part in _sets(one.figures["sets"])]
    rounds = [one.figures for one in made if "rounds" in one.figures][-1:]  # those before chose within a round
    return compared + [part for found in rounds for part in _rounds(found)]


def _sets(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    tasks = list(found["rows"][0]["right"])
    yield {
        "title": "Sets of dialogues, at equal size",
        "words": f"{found['seeds']} seeds; right of every task, with Student's 95 % intervals; the gain is that of the "
        "mean over tasks, over the first set, paired by seed. Dialogues: how many the whole set has.",
        "head": ("set", "dialogues", *tasks, "gain"),
        "rows": [
            (
                *(row["set"], f"{row['dialogues']:,}"),
                *(_share(row["right"][task]) for task in tasks),
                _gain(row["gain"]["mean"]) if number else "",
            )
            for number, row in enumerate(found["rows"])
        ],
    }
    right: dict[str, list[dict[str, float] | None]] = {
        task: [dict(zip(("share", "low", "high"), row["right"][task], strict=True)) for row in found["rows"]]
        for task in tasks
    }
    yield {
        "title": "Right, set by set",
        "words": "The same, as a picture.",
        "drawing": plots.drawn(plots.scores([row["set"] for row in found["rows"]], right)),
    }


def _rounds(figures: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = figures["rounds"]
    yield {
        "title": "Round against round",
        "words": "Prompts that are held out, answered greedily. A win is a prompt that only the later model has right, "
        f"a tie counts half; 95 % intervals over prompts. Number {figures['chosen'] + 1} is kept.",
        "head": ("model", "right", "win rate over the one before", "tokens an answer"),
        "rows": [
            (
                number,
                _share(row["right"]),
                _share(row["win_rate"]) if "win_rate" in row else "",
                f"{row['tokens']:.1f}",
            )
            for number, row in enumerate(rows, 1)
        ],
    }
    curve = {"right": [(number, *row["right"]) for number, row in enumerate(rows, 1)]}
    yield {
        "title": "Right, model by model",
        "words": "The same, as a picture.",
        "drawing": plots.drawn(plots.curve_with_band(curve, "model", "right")),
    }


def _parts(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {
        "title": f"Steps, by {result['task']}",
        "words": f"{result['seeds']} seeds; gains over the step before, paired by seed, with Student's 95 % intervals.",
        "head": ("step", "right", "gain"),
        "rows": [(row["step"], f"{row['share']:.1%}", _gain(row["gain"])) for row in result["rows"]],
    }
    yield {
        "title": "Ways to learn from the same preferences",
        "words": "How far the log-probability of chosen and of rejected answers moved from where the way began, in "
        "nats, and the gain over that model and over the first way, paired by seed.",
        "head": ("way", "chosen", "rejected", "gain", "over the first"),
        "rows": [
            (
                *(row["way"], _gain(row["chosen"]), _gain(row["rejected"]), _gain(row["gain"])),
                _gain(row["over_first"]) if number else "",
            )
            for number, row in enumerate(result["ways"])
        ],
    }
    yield {
        "title": "What they do to endings",
        "words": "How far the log-probability of what ends chosen and rejected answers moved, in nats; the share of "
        "answers that did not come to an end, and tokens an answer.",
        "head": ("way", "end of chosen", "end of rejected", "run on", "tokens"),
        "rows": [
            (
                *(row["way"], _gain(row["endings"]["chosen"]), _gain(row["endings"]["rejected"])),
                *(f"{row['run_on']:.1%}", f"{row['tokens']:.1f}"),
            )
            for row in result["ways"]
        ],
    }
    if result["judges"]:
        yield {
            "title": "Judges",
            "words": "How many of held-out pairs each ranks as people do, and the gain over the first.",
            "head": ("judge", "ranked right", "gain"),
            "rows": [
                (row["judge"], _share(row["right"]), _gain(row["gain"]) if number else "")
                for number, row in enumerate(result["judges"])
            ],
        }
    curves = {
        f"{row['judge']}: {name}" if len(result["judges"]) > 1 else name: [
            (at["k"], *at[name]) for at in row["best_of"]
        ]
        for row in result["judges"]
        for name in ("gold", "right")
        if row["best_of"] and name in row["best_of"][0]
    }
    if curves:
        yield {
            "title": "The best of K answers",
            "words": "The share of prompts for which the answer that the reward model likes best is right, over how "
            "many answers it chooses from.",
            "drawing": plots.drawn(plots.curve_with_band(curves, "answers", "right")),
        }


def _share(found: Sequence[float]) -> str:
    value, low, high = found
    return f"{value:.1%} [{low:.1%}, {high:.1%}]"


def _gain(found: Sequence[float]) -> str:
    value, low, high = found
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}]"
