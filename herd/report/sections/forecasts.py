"""What the ladder foretold of the base run, beside what was measured: its loss, and its scores on tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from herd.core.artifacts import Artifact
from herd.core.errors import ArtifactError
from herd.core.lineage import generations, input_keys
from herd.evals.results import EvaluationResult, TaskResult
from herd.report import plots
from herd.report.sections import Section, SectionPart, artifacts_with, render_parts, sections
from herd.scaling.parametric import parametric_of
from herd.scaling.results import Prediction, ScalingLaw, TaskForecast, TaskForecasts
from herd.train.results import TrainingResult


@sections.add(ScalingLaw, TaskForecasts, order=31)
def forecasts_section(artifacts: Sequence[Artifact]) -> Section | None:
    """The base run's loss on the ladder's law, and its scores in two steps."""
    parts = [*_loss_parts(artifacts), *_task_parts(artifacts)]
    return Section("forecasts", "Forecasts", render_parts(parts)) if parts else None


# ---- loss ----


@dataclass(frozen=True)
class LossCheck:
    """A run's held-out loss in the mix of the ladder, nats a token, beside what the law predicts of it with a 95 %
    interval. lengths: tokens in a row of the ladder and of the run."""

    run: str
    predicted: Prediction
    measured: float
    flops: float
    lengths: tuple[int, int]


def loss_checks(artifacts: Sequence[Artifact]) -> list[LossCheck]:
    """Every new model that was pre-trained and is no rung, held against the law of the ladder; none without a
    parametric law, or where the sources of its mix were not measured."""
    laws = list(artifacts_with(artifacts, ScalingLaw))
    if not laws:
        return []
    law_artifact, result = laws[0]
    try:
        fit = parametric_of({"parametric": result.parametric, "curves": _columns(result)}, where="the law")
    except ArtifactError:  # too few runs, which the law's own section says
        return []
    by_key = {artifact.key: artifact for artifact in artifacts}
    rungs = [by_key[key] for key in input_keys(law_artifact) if key in by_key]
    if not rungs:
        return []
    shares, length = _mix_of(rungs[0]), rungs[0].result(TrainingResult).length
    checks = []
    for artifact, training in artifacts_with(artifacts, TrainingResult):
        if artifact in rungs or artifact.metadata["stage"] != "pretrain" or _was_trained_before(artifact, by_key):
            continue
        measured = {name: loss.nats_per_token for name, loss in training.held_out.items() if shares.get(name)}
        if set(measured) != {name for name, share in shares.items() if share}:
            continue
        low, high = fit.loss_interval(training.num_params, training.tokens, predictive=True)
        predicted = Prediction(fit.law.loss(training.num_params, training.tokens), low, high)
        loss = sum(shares[name] * nats for name, nats in measured.items()) / sum(shares[name] for name in measured)
        checks.append(LossCheck(artifact.key, predicted, loss, training.flops, (length, training.length)))
    return checks


def _mix_of(rung: Artifact) -> dict[str, float]:
    """The shares that a rung's loss is measured in; as they were read where its settings name none."""
    phases = rung.metadata["settings"]["settings"]["mix"]
    if isinstance(phases, list):
        return dict(phases[-1]["mixture_weights"])
    return {name: use.share for name, use in rung.result(TrainingResult).sources.items()}


def _columns(result: ScalingLaw) -> list[dict[str, Sequence[float]]]:
    return [{"num_params": curve.num_params, "tokens": curve.tokens, "losses": curve.losses} for curve in result.curves]


def _was_trained_before(artifact: Artifact, by_key: Mapping[str, Artifact]) -> bool:
    return any(by_key[key].get_result(TrainingResult) is not None for key in input_keys(artifact) if key in by_key)


def _loss_parts(artifacts: Sequence[Artifact]) -> Iterator[SectionPart]:
    checks = loss_checks(artifacts)
    if not checks:
        return
    yield SectionPart(
        title="Loss of the base run",
        words="Held-out nats a token in the ladder's mix, by the parametric law of its runs, with the 95 % interval of "
        "what a run will be measured at, the runs' own scatter included. " + _length_note(checks),
        head=("run", "FLOPs", "predicted", "measured", ""),
        rows=[
            (
                check.run,
                f"{check.flops:.2e}",
                _in_words(check.predicted, ".3f"),
                f"{check.measured:.3f}",
                _place(check.predicted, check.measured),
            )
            for check in checks
        ],
    )


def _length_note(checks: Sequence[LossCheck]) -> str:
    others = [check.lengths for check in checks if check.lengths[0] != check.lengths[1]]
    if not others:
        return ""
    ladder, run = others[0]
    return f"The ladder reads rows of {ladder:,} tokens and the run rows of {run:,}, whose loss is another by itself."


# ---- tasks ----


def _task_parts(artifacts: Sequence[Artifact]) -> Iterator[SectionPart]:
    for artifact, forecast in artifacts_with(artifacts, TaskForecasts):
        measured = _measured(artifact, artifacts)
        drawable = {
            name: {**asdict(task.picture), "measured": [_point(result) for _, result in measured.get(name, ())]}
            for name, task in forecast.tasks.items()
            if task.picture is not None
        }
        drawing: Any = plots.svg_markup(plots.two_steps(drawable)) if drawable else ""
        yield SectionPart(
            title="Scores of the base run",
            words=f"Two steps from the ladder's models to {forecast.target_flops:.2e} FLOPs: nats of the right answer "
            "a character, then the share right; 90 % intervals. Diamonds are forecast, crosses measured.",
            drawing=drawing,
            head=("task", "nats a character", "share right", "measured", "", "largest rung from the others"),
            rows=[row for name, task in forecast.tasks.items() for row in _rows(name, task, measured.get(name, []))],
        )


def _measured(forecast: Artifact, artifacts: Sequence[Artifact]) -> dict[str, list[tuple[str, TaskResult]]]:
    """By task what base models of the run scored that are no rungs: (label, result)."""
    by_key = {artifact.key: artifact for artifact in artifacts}
    rungs = set(input_keys(forecast))
    found: dict[str, list[tuple[str, TaskResult]]] = {}
    for artifact, evaluation in artifacts_with(artifacts, EvaluationResult):
        made_of = set[str]().union(*generations(artifact.key, by_key)) - {artifact.key}
        new = any(by_key[key].get_result(TrainingResult) is not None for key in made_of)
        if evaluation.chat or artifact.key in rungs or not new:
            continue
        for name, result in evaluation.tasks.items():
            if isinstance(result, TaskResult):
                found.setdefault(name, []).append((evaluation.label, result))
    return found


def _rows(name: str, task: TaskForecast, measured: Sequence[tuple[str, TaskResult]]) -> Iterator[tuple[str, ...]]:
    """A row for every model that was measured; one where none was."""
    nll = "" if task.nll is None else _in_words(task.nll, ".3f")
    share = f"none: {task.refusal}" if task.accuracy is None else _in_words(task.accuracy, ".1%")
    test = task.back_test
    tested = (
        ""
        if test is None
        else f"{_in_words(test.accuracy, '.1%')}, measured {test.measured:.1%}, {_place(test.accuracy, test.measured)}"
    )
    if not measured:
        yield name, nll, share, "", "", tested
    for label, result in measured:
        weighed = "" if result.gold_nll is None else f"{result.gold_nll:.3f}, "
        words = f"{label}: {weighed}{result.share:.1%} [{result.low:.1%}, {result.high:.1%}]"
        yield name, nll, share, words, "; ".join(_places(task, result)), tested


def _places(task: TaskForecast, result: TaskResult) -> Iterator[str]:
    if task.nll is not None and result.gold_nll is not None:
        yield f"nats {_place(task.nll, result.gold_nll)}"
    if task.accuracy is not None:
        yield f"share {_place(task.accuracy, result.share)}"


def _point(result: TaskResult) -> tuple[float | None, float]:
    return result.gold_nll, result.share


def _in_words(prediction: Prediction, spec: str) -> str:
    value, low, high = (format(number, spec) for number in (prediction.value, prediction.low, prediction.high))
    return f"{value} [{low}, {high}]"


def _place(prediction: Prediction, measured: float) -> str:
    return "inside" if prediction.holds(measured) else "outside the interval"
