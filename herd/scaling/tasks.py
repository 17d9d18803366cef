"""What a ladder's models score on tasks, and what that predicts of the base run."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict

from herd.core.artifacts import Checkpoint, Law, Scores
from herd.core.errors import DataError
from herd.core.settings import InputFile, PositiveFloat, input_path
from herd.core.stage import Work, stage
from herd.evals.results import EvaluationResult, TaskResult
from herd.evals.stages import SCORES_FILE
from herd.scaling.results import (
    DownstreamResult,
    IsoFlopCurve,
    Prediction,
    ScalingLaw,
    TaskBackTest,
    TaskForecast,
    TaskForecasts,
)
from herd.train.results import TrainingResult


@stage(paper="3.2.1", version=1)
def forecast_tasks(
    work: Work,
    law: Law,
    models: tuple[Checkpoint, ...],
    scores: tuple[Scores, ...],
    *,
    target_flops: PositiveFloat | None = None,
    others: InputFile | None = None,
    seed: int = 0,
) -> Scores:
    """What the base run will do on every task, in two steps: from compute to nats of the right answer, and from there
    to accuracy.

    law, models: the ladder's; scores: of each model, in the same order, measured with `gold_nll`. Of each curve with a
    minimum inside the model nearest to it counts as of the best size and tells how the NLL falls; all tell how accuracy
    follows. target_flops: of the base; the law's when absent. others: a table of results of further models
    (`downstream.read_results`), which small models need to say where a task begins. A task of which nothing can be said
    is recorded with the reason. Source: Llama 3, 3.2.1.
    """
    fitted, trained = law.result(ScalingLaw), [model.result(TrainingResult) for model in models]
    curves, flops = fitted.curves, target_flops or fitted.target_flops
    measured = [score.result(EvaluationResult).tasks for score in scores]
    if not len(trained) == len(measured) == sum(len(curve.tokens) for curve in curves):
        raise DataError(
            f"{len(measured)} evaluations of {len(trained)} models are not those of the law's "
            f"{sum(len(curve.tokens) for curve in curves)}; give the ladder's models, each with its scores"
        )
    best = set(nearest_to_minima(curves))
    of_others = _others(others)
    tasks: dict[str, TaskForecast] = {}
    for done, name in enumerate(measured[0]):
        work.progress(done, len(measured[0]), name)
        results = [tasks_of_model[name] for tasks_of_model in measured]
        if not all(isinstance(result, TaskResult) for result in results):
            continue  # texts, whose bits a byte are a loss and not a score
        runs = [
            _run(training, result, best_size=number in best)
            for number, (training, result) in enumerate(zip(trained, results, strict=True))
            if isinstance(result, TaskResult) and result.gold_nll is not None
        ]
        chance = next((result.chance for result in results if isinstance(result, TaskResult) and result.chance), 0.0)
        if len(runs) < len(results):
            tasks[name] = TaskForecast(chance, (), refusal="its answers were not scored; measure them with gold_nll")
        else:
            tasks[name] = task_forecast([*runs, *of_others.get(name, ())], flops, chance=chance, seed=seed)
    result = TaskForecasts(flops, tasks)
    (work.out / SCORES_FILE).write_text(json.dumps(asdict(result), indent=1, ensure_ascii=False), encoding="utf-8")
    work.record(result)
    work.headline = "; ".join(f"{name}: {_in_words(task)}" for name, task in tasks.items()) or "no task has answers"
    return Scores(work.out)


def nearest_to_minima(curves: Sequence[IsoFlopCurve]) -> list[int]:
    """The places, among all models curve by curve, of those nearest to the minimum of their curve where it is inside
    the sizes trained."""
    places, start = [], 0
    for curve in curves:
        if curve.inside and curve.best_tokens:
            best_tokens = curve.best_tokens
            distances = [abs(math.log(tokens / best_tokens)) for tokens in curve.tokens]
            places.append(start + distances.index(min(distances)))
        start += len(curve.tokens)
    return places


def _run(training: TrainingResult, result: TaskResult, *, best_size: bool) -> DownstreamResult:
    assert result.gold_nll is not None
    answered = result.questions - result.void
    return DownstreamResult(training.flops, result.gold_nll, result.share, answered, best_size, training.loss)


def _others(file: str | None) -> dict[str, list[DownstreamResult]]:
    """Results of further models by task."""
    if file is None:
        return {}
    from herd.scaling.downstream import read_results  # scipy takes a while, which planning has no use for

    return {task: runs for task, (_, runs) in read_results(input_path(file)).items()}


def task_forecast(
    runs: Sequence[DownstreamResult], target_flops: float, *, chance: float, seed: int = 0
) -> TaskForecast:
    """What a run of `target_flops` is predicted to do by these, as far as they tell it."""
    from herd.scaling.downstream import back_test, forecast, forecast_nll, forecast_plot

    straight = [run for run in runs if run.best_size and run.flops < target_flops]
    orders = math.log10(target_flops / max(run.flops for run in straight)) if straight else 0.0
    try:
        nll = forecast_nll(runs, target_flops, seed=seed)
    except DataError as fault:
        return TaskForecast(chance, tuple(runs), refusal=f"{len(straight)} models of the best size: {fault}")
    tested: TaskBackTest | None = None
    try:
        questions = max(run.questions for run in runs)
        prediction = forecast(runs, target_flops, chance=chance, questions=questions, seed=seed)
        accuracy = Prediction(prediction.accuracy, *prediction.accuracy_interval)
        picture = forecast_plot(runs, prediction) | {"nll": (nll.value, nll.low, nll.high)}
    except DataError as fault:
        return TaskForecast(chance, tuple(runs), nll, orders=orders, refusal=str(fault))
    with contextlib.suppress(DataError):  # without its largest run there may be too few
        test = back_test(runs, chance=chance, seed=seed)
        foretold = Prediction(test.forecast.accuracy, *test.forecast.accuracy_interval)
        tested = TaskBackTest(test.forecast.flops, foretold, test.measured, test.inside)
    return TaskForecast(chance, tuple(runs), nll, accuracy, orders, "", picture, tested)


def _in_words(task: TaskForecast) -> str:
    """A task's forecast, short."""
    if task.accuracy is not None:
        return f"{task.accuracy.value:.0%} [{task.accuracy.low:.0%}, {task.accuracy.high:.0%}]"
    return f"{task.nll.value:.3f} nats a character, no score" if task.nll is not None else "no forecast"
