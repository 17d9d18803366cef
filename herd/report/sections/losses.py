"""How losses fell in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from herd.align.results import FinetuningResult
from herd.core.artifacts import Artifact
from herd.core.lineage import input_keys
from herd.core.manifests import check_files
from herd.core.titles import artifact_titles
from herd.evals.results import EvaluationResult
from herd.report import plots
from herd.report.plots import svg_markup
from herd.report.sections import Section, artifacts_with, fill_template, sections
from herd.scaling.results import ScalingLaw, TaskForecasts
from herd.train.log import METRICS_FILE, Step, read_steps
from herd.train.results import TrainingResult


@sections.add(TrainingResult, FinetuningResult, order=60)
def losses_section(artifacts: Sequence[Artifact]) -> Section | None:
    """The losses of the one chain of pre-training, then those of each stage of fine-tuning."""
    drawings = list(curves(artifacts))
    html = fill_template(Path(__file__).with_suffix(".html"), curves=drawings)
    return Section("losses", "Losses", html) if drawings else None


def curves(artifacts: Sequence[Artifact]) -> Iterator[dict[str, Any]]:
    titles = artifact_titles(artifacts)
    tuned = [
        (artifact, result)
        for artifact, result in artifacts_with(artifacts, FinetuningResult)
        if METRICS_FILE in artifact.metadata["files"]
    ]
    tuned_keys = {artifact.key for artifact, _ in tuned}
    chain = [
        artifact
        for artifact, _ in artifacts_with(artifacts, TrainingResult)
        if METRICS_FILE in artifact.metadata["files"]
        and artifact.key not in tuned_keys
        and not _is_rung(artifact, artifacts)
    ]
    if chain:
        svg = plots.loss_curves([_run(artifact, titles) for artifact in chain], "training tokens with a target")
        yield {"title": "Pre-training, longer contexts, annealing", "drawing": svg_markup(svg)}
    stages = {artifact.metadata["stage"]: (artifact.metadata["paper"], result.step_unit) for artifact, result in tuned}
    for stage, (_, unit) in sorted(stages.items(), key=lambda pair: pair[1]):  # as they come in the paper
        runs = [_run(artifact, titles) for artifact, _ in tuned if artifact.metadata["stage"] == stage]
        yield {"title": f"{stage}, run after run", "drawing": svg_markup(plots.loss_curves(runs, unit))}


def steps_of(artifact: Artifact) -> list[Step]:
    """What every step of a stage did, compared with its hash: it need not be an input of the report's own."""
    check_files(artifact.path, METRICS_FILE)
    return read_steps(artifact.path / METRICS_FILE)


def _is_rung(artifact: Artifact, artifacts: Sequence[Artifact]) -> bool:
    """Whether a model was trained for a law only: its other uses are forecasts of scores, and what it scored for
    these."""

    def users(key: str) -> list[Artifact]:
        return [user for user in artifacts if key in input_keys(user)]

    def forecasts(user: Artifact) -> bool:
        return user.get_result(ScalingLaw) is not None or user.get_result(TaskForecasts) is not None

    def is_for_forecasts(user: Artifact) -> bool:
        scores_users = users(user.key) if user.get_result(EvaluationResult) is not None else []
        return forecasts(user) or (bool(scores_users) and all(map(forecasts, scores_users)))

    of_model = users(artifact.key)
    in_law = any(user.get_result(ScalingLaw) is not None for user in of_model)
    return in_law and all(map(is_for_forecasts, of_model))


def _run(artifact: Artifact, titles: Mapping[str, str]) -> tuple[str, list[float], list[float]]:
    steps = steps_of(artifact)
    return titles[artifact.key], [step.loss_denominator for step in steps], [step.loss for step in steps]
