"""What models can do and which text they predict, by name, and what each step of a run did to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from herd.core.artifacts import Artifact
from herd.core.lineage import generations
from herd.evals.intervals import Interval, paired_gain, unpaired_gain, wilson
from herd.evals.results import EvaluationResult, TaskResult
from herd.report.sections import artifacts_with
from herd.report.texts import TextChange, TextLoss, text_losses


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


@dataclass(frozen=True)
class MeasuredStep:
    """A measured model. before: the label of the measured one that it was made from, of several the last; None of the
    first. A round that begins from the base model again goes on from that, not from the round before. texts: how well
    it predicts held-out text, by source and by task."""

    before: str | None
    scores: Mapping[str, AbilityScore]
    texts: Mapping[str, TextLoss] = field(default_factory=dict)


def measured_steps(artifacts: Sequence[Artifact]) -> dict[str, MeasuredStep]:
    """By label the model that was measured last and those before it that it was made from, in their order: models that
    were measured beside it, such as those of other seeds, are no steps to it."""
    measured: list[tuple[str, EvaluationResult, str]] = [
        (model, result, artifact.metadata["inputs"].get("tokens") or "")
        for artifact, result in artifacts_with(artifacts, EvaluationResult)
        if (model := artifact.metadata["inputs"].get("model"))
    ]
    if not measured:
        return {}
    by_key = {artifact.key: artifact for artifact in artifacts}
    models = set(chain.from_iterable(generations(measured[-1][0], by_key)))
    labels = {model: result.label for model, result, _ in measured if model in models}
    return {
        result.label: MeasuredStep(_nearest(labels, model, by_key), ability_scores(result), text_losses(result, tokens))
        for model, result, tokens in measured
        if model in models
    }


def _nearest(labels: Mapping[str, str], model: str, artifacts: Mapping[str, Artifact]) -> str | None:
    """The label of the nearest model that this one was made from; of equally near ones that measured last."""
    _, *older = generations(model, artifacts)
    for generation in older:
        if near := [label for key, label in labels.items() if key in generation]:
            return near[-1]
    return None


def losses_of(steps: Mapping[str, MeasuredStep]) -> Iterator[Loss]:
    """Every ability that a step made worse than it was before that step; one that was not measured there is compared
    with where it was last on the way."""
    for label, step in steps.items():
        before = _last_scores(steps, step.before)
        for ability, score in step.scores.items():
            if ability in before and score.gain_over(before[ability]).high < 0:
                yield Loss(label, ability, before[ability], score)


def _last_scores(steps: Mapping[str, MeasuredStep], label: str | None) -> Mapping[str, AbilityScore]:
    """What was last measured of each ability on the way to a step, that step's own among it."""
    return {} if label is None else {**_last_scores(steps, steps[label].before), **steps[label].scores}


def text_changes(steps: Mapping[str, MeasuredStep]) -> Iterator[TextChange]:
    """What every step did to each text, against the model before it where the text was measured last; nothing where one
    of both has no interval."""
    for label, step in steps.items():
        before = _last_texts(steps, step.before)
        for name, loss in step.texts.items():
            earlier, was = before.get(name, ("", None))
            rise = loss.change_from(was) if was is not None else None
            if was is not None and rise is not None:
                yield TextChange(label, earlier, name, was, loss, rise)


def text_losses_of(steps: Mapping[str, MeasuredStep]) -> Iterator[TextChange]:
    """Every text that a step made a model predict worse, by more than the interval of the difference."""
    return (change for change in text_changes(steps) if change.is_worse)


def _last_texts(steps: Mapping[str, MeasuredStep], label: str | None) -> Mapping[str, tuple[str, TextLoss]]:
    """By text which model was measured last on the way to a step, that step's own among them, and what it was."""
    if label is None:
        return {}
    own = {name: (label, loss) for name, loss in steps[label].texts.items()}
    return {**_last_texts(steps, steps[label].before), **own}
