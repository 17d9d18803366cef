"""What models scored, from a table of one's own or from a run: for thresholds, metrics and back-tests."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from herd.core.artifacts import PARTIAL, Artifact, check_files, is_complete, open_artifact
from herd.core.errors import ArtifactError, DataError
from herd.core.lineage import input_keys, lineage
from herd.evals.results import EvaluationResult, TaskResult
from herd.evals.stages import CHOICES, SCORES_FILE
from herd.scaling.downstream import read_results
from herd.scaling.emergence import TASK_METRICS, Threshold, rank_with_compute, task_metrics, threshold
from herd.scaling.results import DownstreamResult, ScalingLaw
from herd.scaling.tasks import nearest_to_minima
from herd.train.results import TrainingResult

_TableT = TypeVar("_TableT")
_SaidT = TypeVar("_SaidT")


@dataclass(frozen=True)
class ModelChoices:
    """How likely one model, trained with so many FLOPs, held every choice of every question in nats, and which is right
    of each."""

    flops: float
    log_likelihoods: tuple[tuple[float, ...], ...]
    right: tuple[int, ...]


def results_in(path: Path) -> dict[str, tuple[float, list[DownstreamResult]]]:
    """Chance and runs by task: of a CSV (`read_results`), or of the models in a run's folder that were evaluated with
    `gold_nll`.

    Of a ladder's models those nearest to the minima of its curves count as of the best size, and so does every other
    model of the run. Raises DataError for what is neither, ArtifactError for a run without such evaluations.
    """
    if path.is_file():
        return read_results(path)
    tables: dict[str, tuple[float, list[DownstreamResult]]] = {}
    for model in _evaluated_in(path):
        for name, result in model.evaluation.tasks.items():
            if isinstance(result, TaskResult) and result.gold_nll is not None:
                _, runs = tables.setdefault(name, (result.chance or 0.0, []))
                answered = result.questions - result.void
                runs.append(
                    DownstreamResult(
                        model.flops, result.gold_nll, result.share, answered, model.is_best_size, model.loss
                    )
                )
    if not tables:
        raise ArtifactError(
            f"{path} holds no model whose right answers were weighed; give the recipe's ladder tasks, or name a CSV"
        )
    return tables


def choices_in(path: Path) -> dict[str, list[ModelChoices]]:
    """Every model's likelihoods of choices by task: of a CSV with the columns task, flops, question, choice, log_p (in
    nats, of the choice's text) and right (1 or 0), a line for every choice, or of the models evaluated in a run's
    folder.

    Raises DataError for what is neither, ArtifactError for a run without such evaluations.
    """
    if path.is_file():
        return _read_choices(path)
    tables: dict[str, list[ModelChoices]] = {}
    for model in _evaluated_in(path):
        check_files(model.artifact.path, SCORES_FILE)
        row = json.loads((model.artifact.path / SCORES_FILE).read_text(encoding="utf-8"))
        for name, examples in row.get(CHOICES, {}).items():
            known = [example for example in examples if example["right"] is not None]
            likelihoods = tuple(tuple(example["log_likelihoods"]) for example in known)
            tables.setdefault(name, []).append(
                ModelChoices(model.flops, likelihoods, tuple(example["right"] for example in known))
            )
    if not tables:
        raise ArtifactError(f"{path} holds no model that was asked questions with choices; name another run, or a CSV")
    return tables


def metric_correlations(models: Sequence[ModelChoices]) -> dict[str, float]:
    """For every metric of a task the mean over questions of its rank correlation with compute.

    Raises DataError for fewer than three models, or models that were not asked the same questions.
    """
    if len({model.right for model in models}) > 1:
        raise DataError("the models were not asked the same questions; leave out those that were asked others")
    columns = [_metrics(model) for model in models]
    by_metric = {name: [column[name] for column in columns] for name in TASK_METRICS}
    return rank_with_compute([model.flops for model in models], by_metric)


def _metrics(model: ModelChoices) -> dict[str, Any]:
    """Where questions have fewer choices than others, those missing have no probability."""
    width = max(len(row) for row in model.log_likelihoods)
    padded = [[*row, *[-np.inf] * (width - len(row))] for row in model.log_likelihoods]
    return task_metrics(padded, model.right)


@dataclass(frozen=True)
class TaskThreshold:
    """A task's threshold over `unit`, from so many models, and whether it is preferred to a smooth curve."""

    threshold: Threshold
    preferred: bool
    unit: str
    models: int
    chance: float


def task_threshold(table: tuple[float, Sequence[DownstreamResult]]) -> TaskThreshold:
    """The loss below which a task is better than chance: over the loss of training where that of every model is known,
    else over the nats of the right answer. table: chance and runs. Raises DataError where nothing can be said."""
    chance, runs = table
    losses = [run.loss for run in runs if run.loss is not None]
    of_training = len(losses) == len(runs)
    x = losses if of_training else [run.nll for run in runs]
    unit = "nats a token" if of_training else "nats of the right answer a character"
    begins = threshold(x, [run.accuracy for run in runs], chance=chance)
    return TaskThreshold(begins, begins.preferred, unit, len(runs), chance)


def threshold_line(row: TaskThreshold) -> str:
    """Where a task begins, or would."""
    at = row.threshold
    where = f"{at.loss:.3f} {row.unit} [{at.low:.3f}, {at.high:.3f}]"
    verdict = (
        f"begins below {where}, {at.gain:.1%} more right for each nat"
        if row.preferred
        else f"no threshold, a line or a parabola says as much; it would be {where}"
    )
    return f"{verdict}; BIC in its favour {at.evidence:+.1f}, {row.models} models, chance {row.chance:.0%}"


def by_task(tables: Mapping[str, _TableT], say: Callable[[_TableT], _SaidT]) -> dict[str, _SaidT | str]:
    """What `say` finds in each task's table, or why nothing can be said of it."""
    found: dict[str, _SaidT | str] = {}
    for task, table in tables.items():
        try:
            found[task] = say(table)
        except DataError as fault:
            found[task] = str(fault)
    return found


# ---- a run's folder ----


@dataclass(frozen=True)
class _EvaluatedModel:
    """A model that was measured. flops: that it was trained with. loss: nats a token, as training left it."""

    artifact: Artifact
    evaluation: EvaluationResult
    flops: float
    loss: float
    is_best_size: bool


def _evaluated_in(run: Path) -> Iterator[_EvaluatedModel]:
    """Base models of a run that were evaluated, each once."""
    folders = [folder for folder in sorted((run / "artifacts").glob("*")) if is_complete(folder)]
    if not folders:
        raise DataError(f"{run} is no table and no run's folder; name a CSV or a folder that `herd run` made")
    artifacts = [open_artifact(folder) for folder in folders if folder.suffix != PARTIAL]
    rungs = dict(_rungs(artifacts))
    seen: set[str] = set()
    for artifact in artifacts:
        evaluation = artifact.get_result(EvaluationResult)
        model = artifact.metadata["inputs"].get("model")
        if evaluation is None or evaluation.chat or not isinstance(model, str) or model in seen:
            continue
        seen.add(model)
        trainings = _trainings(artifact.path.parent / model)
        if trainings:
            flops, loss = sum(training.flops for training in trainings), trainings[-1].loss
            yield _EvaluatedModel(artifact, evaluation, flops, loss, rungs.get(model, True))


def _trainings(folder: Path) -> list[TrainingResult]:
    """Every training that a model went through, in order."""
    stages = (artifact.get_result(TrainingResult) for artifact in lineage(open_artifact(folder)))
    return [training for training in stages if training is not None]


def _rungs(artifacts: Sequence[Artifact]) -> Iterator[tuple[str, bool]]:
    """Keys of all models of ladders, and whether each is of the best size."""
    for artifact in artifacts:
        law = artifact.get_result(ScalingLaw)
        if law is not None:
            best = set(nearest_to_minima(law.curves))
            yield from ((key, number in best) for number, key in enumerate(input_keys(artifact)))


# ---- a table of one's own ----

_COLUMNS = ("task", "flops", "question", "choice", "log_p", "right")


def _read_choices(file: Path) -> dict[str, list[ModelChoices]]:
    tables: dict[str, dict[float, dict[str, list[tuple[float, bool]]]]] = {}
    with file.open(encoding="utf-8", newline="") as stream:
        table = csv.DictReader(stream)
        if missing := [name for name in _COLUMNS if name not in (table.fieldnames or ())]:
            raise DataError(f"{file}: no column {missing[0]}; the first line must name {', '.join(_COLUMNS)}")
        for line, row in enumerate(table, 2):
            flops, log_p, right = _numbers(row, f"{file}:{line}")
            questions = tables.setdefault(row["task"], {}).setdefault(flops, {})
            questions.setdefault(row["question"], []).append((log_p, right))
    if not tables:
        raise DataError(f"{file} holds no choices; give a line for every model, question and choice")
    return {task: [_model_choices(file, *pair) for pair in by_flops.items()] for task, by_flops in tables.items()}


def _numbers(row: Mapping[str, str], where: str) -> tuple[float, float, bool]:
    try:
        return float(row["flops"]), float(row["log_p"]), bool(int(row["right"]))
    except (TypeError, ValueError):
        raise DataError(f"{where}: flops and log_p are numbers, right is 1 or 0; mend the line") from None


def _model_choices(file: Path, flops: float, questions: Mapping[str, Sequence[tuple[float, bool]]]) -> ModelChoices:
    for name, choices in questions.items():
        if len(choices) < 2 or sum(right for _, right in choices) != 1:
            count = sum(right for _, right in choices)
            raise DataError(
                f"{file}: question {name!r} at {flops:g} FLOPs has {len(choices)} choices, {count} of them right; give "
                "two or more, one right, and each model other FLOPs"
            )
    likelihoods = tuple(tuple(log_p for log_p, _ in choices) for choices in questions.values())
    return ModelChoices(
        flops, likelihoods, tuple([right for _, right in choices].index(True) for choices in questions.values())
    )
