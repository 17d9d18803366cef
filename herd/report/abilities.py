"""What models can do, by name, and what each step of a run did to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from herd.core.artifacts import Artifact
from herd.core.lineage import input_keys
from herd.evals.intervals import Interval, paired_gain, unpaired_gain, wilson
from herd.evals.results import EvaluationResult, TaskResult
from herd.report.sections import artifacts_with


@dataclass(frozen=True)
class AbilityScore:
    """The share right with its 95 % interval. questions: those that are not void. right: of every question, where it is
    recorded, None for what is void."""

    interval: Interval
    questions: int
    right: tuple[float | None, ...] | None = None

    def gain_over(self, before: AbilityScore) -> Interval:
        """By how much the share rose, paired where both were asked the same questions."""
        if self.right is None or before.right is None or len(self.right) != len(before.right):
            return unpaired_gain(before.interval, self.interval)
        # What was void in either says nothing of the gain.
        pairs = [pair for pair in zip(before.right, self.right, strict=True) if None not in pair]
        return paired_gain(*zip(*pairs, strict=True)) if pairs else unpaired_gain(before.interval, self.interval)


def ability_scores(result: EvaluationResult) -> dict[str, AbilityScore]:
    """Of every task with right answers under its name, and of needles at each length as `needle_1024`."""
    scores = {
        name: AbilityScore(Interval(task.share, task.low, task.high), task.questions - task.void, task.right)
        for name, task in result.tasks.items()
        if isinstance(task, TaskResult)
    }
    for length in sorted({cell.length for cell in result.needle}):
        cells = [cell for cell in result.needle if cell.length == length]
        total = sum(cell.total for cell in cells)
        scores[f"needle_{length}"] = AbilityScore(wilson(sum(cell.hits for cell in cells), total), total)
    return scores


@dataclass(frozen=True)
class Loss:
    """A step after which a model is worse at an ability than before it, by more than the interval of the difference."""

    step: str
    ability: str
    before: AbilityScore
    after: AbilityScore


def measured_steps(artifacts: Sequence[Artifact]) -> dict[str, dict[str, AbilityScore]]:
    """By label the abilities of the model that was measured last and of those before it that it was made from, in their
    order: models that were measured beside it, such as those of other seeds, are no steps to it."""
    measured = [(artifact.metadata["inputs"].get("model"), result) for artifact, result in
                artifacts_with(artifacts, EvaluationResult)]  # fmt: skip
    if not measured:
        return {}
    last = measured[-1][0]
    models = _ancestors(last, {artifact.key: artifact for artifact in artifacts})
    return {result.label: ability_scores(result) for model, result in measured if model in models}


def _ancestors(key: str | None, artifacts: Mapping[str, Artifact]) -> set[str]:
    """The keys of an artifact and of all that it was made of."""
    ancestors: set[str] = set()
    unvisited = [key] if key else []
    while unvisited:
        current = unvisited.pop()
        if current not in ancestors and current in artifacts:
            ancestors.add(current)
            unvisited += input_keys(artifacts[current])
    return ancestors


def losses_of(steps: Mapping[str, Mapping[str, AbilityScore]]) -> Iterator[Loss]:
    """Every ability that a step made worse, step by step; one that was not measured in between is compared with where
    it was last."""
    latest: dict[str, AbilityScore] = {}
    for label, scores in steps.items():
        for ability, score in scores.items():
            if ability in latest and score.gain_over(latest[ability]).high < 0:
                yield Loss(label, ability, latest[ability], score)
        latest |= scores
