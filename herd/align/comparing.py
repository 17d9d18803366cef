"""What every step of alignment gained, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from herd.core.artifacts import Checkpoint, Dialogues, Scores
from herd.core.settings import settings
from herd.core.stage import Work, stage
from herd.evals.spread import Interval, student_mean


@settings
class Steps:
    """Labels of what was measured. base: of the model before. steps: of each step of each seed, in the order of the
    seeds, from the first step to the last; ways: of what the last step may be, all from the model before it. judges:
    what those that rank answers are called."""

    base: str
    steps: dict[str, tuple[str, ...]]
    ways: dict[str, tuple[str, ...]]
    judges: tuple[str, ...]
    task: str


@stage(paper="4.1.6", version=4)
def compare_steps(
    work: Work,
    scores: tuple[Scores, ...],
    judges: tuple[Checkpoint, ...],
    best: tuple[Dialogues, ...],
    tuned: tuple[Checkpoint, ...],
    *,
    steps: Steps,
) -> Scores:
    """Gains of each step over the one before it on `steps.task`, paired by seed, with Student's intervals; how well
    judges rank; what the best of K is worth; and what each way of learning from preferences did to likelihoods.

    judges, best, tuned: those of all `steps.judges`, which may be none, and of all `steps.ways`, in their order, each
    one's in the order of the seeds; of judges the first may be the only ones that chose.
    """
    measured = {one.figures["measured"]["label"]: one.figures["measured"]["tasks"] for one in scores}

    def shares(labels: Sequence[str]) -> np.ndarray:
        return np.array([measured[label][steps.task]["share"] for label in labels])

    rows, each = [], len(next(iter(steps.steps.values())))
    before, now = np.empty(0), np.full(each, measured[steps.base][steps.task]["share"])
    for name, labels in steps.steps.items():
        before, now = now, shares(labels)
        rows.append({"step": name, "share": float(now.mean()), "gain": _row(student_mean(now - before))})
    ways, first = [], shares(next(iter(steps.ways.values())))
    for number, (name, labels) in enumerate(steps.ways.items()):
        own = tuned[number * each : (number + 1) * each]
        asked = [measured[label][steps.task] for label in labels]
        ways.append(
            {
                "way": name,
                **{side: _moved(own, "log_prob_change", side) for side in ("chosen", "rejected")},
                "endings": {side: _moved(own, "ending_change", side) for side in ("chosen", "rejected")},
                "run_on": float(np.mean([one["run_on"] for one in asked])),
                "tokens": float(np.mean([one["tokens"] for one in asked])),
                "gain": _row(student_mean(shares(labels) - before)),
                "over_first": _row(student_mean(shares(labels) - first)),
            }
        )
    right = np.array([one.figures["held_out"]["right"] / one.figures["held_out"]["pairs"] for one in judges])
    by_judge = right.reshape(len(steps.judges), each)
    curves = [one.figures["best_of"] for one in best]
    result: dict[str, Any] = {
        "task": steps.task,
        "seeds": each,
        "rows": rows,
        "ways": ways,
        "judges": [
            {
                "judge": name,
                "right": _row(student_mean(by_judge[number])),
                "gain": _row(student_mean(by_judge[number] - by_judge[0])),
                "best_of": _curve(curves[number * each : (number + 1) * each]),  # none of one that did not choose
            }
            for number, name in enumerate(steps.judges)
        ],
    }
    work.figure("alignment", result)
    told = ", ".join(
        f"{row['step']} {row['gain'][0]:+.2f} [{row['gain'][1]:+.2f}, {row['gain'][2]:+.2f}]" for row in rows
    )
    work.figure("headline", f"{steps.task}: {told}")
    return Scores(work.out)


@stage(paper="4.2.3", version=1)
def compare_sets(
    work: Work,
    scores: tuple[Scores, ...],
    sets: tuple[Dialogues, ...],
    *,
    labels: tuple[str, ...],
    tasks: tuple[str, ...],
) -> Scores:
    """What models taught by each of several sets of dialogues have right, and its gain over the first set, paired by
    seed, with Student's intervals: of every task, and of their mean.

    labels: of `sets`, whole, in their order. scores: of the first set's models by seed, then the next set's.
    """
    each = len(scores) // len(labels)
    right = np.array([[one.figures["measured"]["tasks"][task]["share"] for task in tasks] for one in scores])
    shares = np.column_stack([right, right.mean(axis=1)]).reshape(len(labels), each, -1)
    rows = [
        {
            "set": label,
            "dialogues": whole.figures["dialogues"],
            "right": {name: _row(student_mean(own[:, at])) for at, name in enumerate((*tasks, "mean"))},
            "gain": {name: _row(student_mean((own - shares[0])[:, at])) for at, name in enumerate((*tasks, "mean"))},
        }
        for label, whole, own in zip(labels, sets, shares, strict=True)
    ]
    work.figure("sets", {"seeds": each, "rows": rows})
    told = ", ".join(f"{row['set']} {row['right']['mean'][0]:.1%}" for row in rows)
    work.figure("headline", f"right of all tasks: {told}")
    return Scores(work.out)


def _moved(models: Sequence[Checkpoint], figure: str, side: str) -> list[float]:
    return _row(student_mean([one.figures[figure][side] for one in models]))


def _row(found: Interval) -> list[float]:
    return [found.value, found.low, found.high]


def _curve(curves: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """By K the mean over seeds of what was measured of the best, with its interval."""
    names = [name for name in curves[0][0] if name != "k"] if curves and curves[0] else []
    return [
        {"k": row["k"], **{name: _row(student_mean([one[number][name] for one in curves])) for name in names}}
        for number, row in enumerate(curves[0] if names else ())
    ]
