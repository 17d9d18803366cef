"""What every step of alignment gained, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from herd.align.results import (
    AlignmentComparison,
    BestOf,
    DialogueCount,
    DialogueSetComparison,
    DialogueSetScore,
    EosChange,
    JudgeScore,
    MethodGain,
    PreferenceLearning,
    RejectionSampling,
    RewardModelResult,
    StepGain,
)
from herd.core.artifacts import Checkpoint, Dialogues, Scores
from herd.core.errors import DataError
from herd.core.settings import settings
from herd.core.stage import Work, stage
from herd.evals.intervals import Interval, student_mean
from herd.evals.results import EvaluationResult, TaskResult, TextResult


@settings
class StepLabels:
    """Labels of what was measured. base: of the model before. steps: of each step of each seed, in the order of the
    seeds, from the first step to the last; methods: of what the last step may be, all from the model before it. judges:
    what those that rank answers are called."""

    base: str
    steps: dict[str, tuple[str, ...]]
    methods: dict[str, tuple[str, ...]]
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
    steps: StepLabels,
) -> Scores:
    """Gains of each step over the one before it on `steps.task`, paired by seed, with Student's intervals; how well
    judges rank; what the best of K is worth; and what each method of learning from preferences did to likelihoods.

    judges, best, tuned: those of all `steps.judges`, which may be none, and of all `steps.methods`, in their order,
    each one's in the order of the seeds; of judges the first may be the only ones that chose.
    """
    evaluations = [score.result(EvaluationResult) for score in scores]
    measured = {evaluation.label: evaluation.tasks for evaluation in evaluations}

    def shares(labels: Sequence[str]) -> np.ndarray:
        return np.array([right_share(measured[label], steps.task) for label in labels])

    rows, seeds = [], len(next(iter(steps.steps.values())))
    before, now = np.empty(0), np.full(seeds, right_share(measured[steps.base], steps.task))
    for name, labels in steps.steps.items():
        before, now = now, shares(labels)
        rows.append(StepGain(name, float(now.mean()), student_mean(now - before).within(-1, 1)))
    methods, first = [], shares(next(iter(steps.methods.values())))
    for number, (name, labels) in enumerate(steps.methods.items()):
        own = tuned[number * seeds : (number + 1) * seeds]
        answered = [task_result(measured[label], steps.task) for label in labels]
        learnt = [model.result(PreferenceLearning) for model in own]
        methods.append(
            MethodGain(
                method=name,
                chosen=student_mean([result.log_prob_change.chosen for result in learnt]),
                rejected=student_mean([result.log_prob_change.rejected for result in learnt]),
                eos=EosChange(
                    student_mean([result.eos_change.chosen for result in learnt]),
                    student_mean([result.eos_change.rejected for result in learnt]),
                ),
                truncated_share=float(np.mean([result.truncated_share for result in answered])),
                tokens=float(np.mean([result.tokens for result in answered])),
                gain=student_mean(shares(labels) - before).within(-1, 1),
                over_first=student_mean(shares(labels) - first).within(-1, 1),
            )
        )
    tested = [judge.result(RewardModelResult).held_out for judge in judges]
    by_judge = np.array([pairs.right / pairs.pairs for pairs in tested]).reshape(len(steps.judges), seeds)
    curves = [dialogues.result(RejectionSampling).best_of for dialogues in best]
    result = AlignmentComparison(
        task=steps.task,
        seeds=seeds,
        rows=tuple(rows),
        methods=tuple(methods),
        judges=tuple(
            JudgeScore(
                judge=name,
                right=student_mean(by_judge[number]).within(0, 1),
                gain=student_mean(by_judge[number] - by_judge[0]).within(-1, 1),
                best_of=_curve(curves[number * seeds : (number + 1) * seeds]),
            )
            for number, name in enumerate(steps.judges)
        ),
    )
    work.record(result)
    gains = ", ".join(f"{row.step} {row.gain.value:+.2f} [{row.gain.low:+.2f}, {row.gain.high:+.2f}]" for row in rows)
    work.headline = f"{steps.task}: {gains}"
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
    seeds = len(scores) // len(labels)
    right = np.array([_right_shares(score.result(EvaluationResult).tasks, tasks) for score in scores])
    shares = np.column_stack([right, right.mean(axis=1)]).reshape(len(labels), seeds, -1)
    names = (*tasks, "mean")
    rows = [
        DialogueSetScore(
            set=label,
            dialogues=dialogues.result(DialogueCount).dialogues,
            right=_seed_means(names, own, least=0.0),
            gain=_seed_means(names, own - shares[0], least=-1.0),
        )
        for label, dialogues, own in zip(labels, sets, shares, strict=True)
    ]
    work.record(DialogueSetComparison(seeds, tuple(rows)))
    by_set = ", ".join(f"{row.set} {row.right['mean'].value:.1%}" for row in rows)
    work.headline = f"right of all tasks: {by_set}"
    return Scores(work.out)


def task_result(tasks: Mapping[str, TaskResult | TextResult], task: str) -> TaskResult:
    """Raises DataError for a task that was not measured, or has no right answers."""
    result = tasks.get(task)
    if not isinstance(result, TaskResult):
        raise DataError(f"no share right of the task {task!r} was measured; name one of {', '.join(tasks)}")
    return result


def right_share(tasks: Mapping[str, TaskResult | TextResult], task: str) -> float:
    return task_result(tasks, task).share


def _right_shares(measured: Mapping[str, TaskResult | TextResult], tasks: Sequence[str]) -> list[float]:
    return [right_share(measured, task) for task in tasks]


def _seed_means(names: Sequence[str], values: np.ndarray, *, least: float) -> dict[str, Interval]:
    """The mean over seeds of every column, from `least` to 1, with its interval. values: [seeds, names]."""
    return {name: student_mean(column).within(least, 1.0) for name, column in zip(names, values.T, strict=True)}


def _curve(curves: Sequence[Sequence[Mapping[str, float]]]) -> tuple[BestOf, ...]:
    """By K the mean over seeds of what was measured of the best, with its interval."""
    points = []
    for number, first in enumerate(curves[0] if curves else ()):
        of_seeds = [curve[number] for curve in curves]
        points.append(BestOf(first["k"], {name: _seed_mean(of_seeds, name) for name in first if name != "k"}))
    return tuple(points)


def _seed_mean(rows: Sequence[Mapping[str, float]], name: str) -> Interval:
    return student_mean([row[name] for row in rows])
