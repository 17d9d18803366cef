"""The ladder's scores: a planted family tells what the base will score, and what tells nothing is told."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from herd.core.artifacts import ArtifactMetadata, Checkpoint, Law, Scores, write_metadata
from herd.core.errors import DataError
from herd.core.results import results
from herd.evals.intervals import wilson
from herd.evals.results import EvaluationResult, TaskResult, TextResult
from herd.scaling.downstream import Sigmoid, forecast_nll
from herd.scaling.results import IsoFlopCurve, TaskForecast, TaskForecasts
from herd.scaling.stages import fit_law
from herd.scaling.tasks import forecast_tasks, nearest_to_minima, task_forecast
from herd.train.results import TrainingResult
from tests.imported import work
from tests.scaling.test_downstream import family
from tests.scaling.test_stages import BUDGETS, TARGET, sweep

CURVE = Sigmoid(chance=0.25, top=0.97, steepness=12.0, middle=1.1)
QUESTIONS = 400


def nll_at(flops: float) -> float:
    """Of the right answer, a character, for a model of the best size."""
    return 1.5 - 0.15 * (np.log10(flops) - 18)


def task_result(nll: float, share: float, *, chance: float | None = 0.25) -> TaskResult:
    right = round(share * QUESTIONS)
    answers = (1,) * right + (0,) * (QUESTIONS - right)
    return TaskResult(*wilson(right, QUESTIONS), QUESTIONS, 0, answers, 0.0, 1.0, gold_nll=nll, chance=chance)


def scores(folder: Path, label: str, tasks: dict[str, TaskResult | TextResult], model: str = "") -> Scores:
    """What an evaluation leaves of itself."""
    folder.mkdir(parents=True)
    rows = results.to_rows([EvaluationResult(label, False, tasks)])
    write_metadata(
        folder, ArtifactMetadata("Scores", folder.name, "evaluate_model", 5, "5", "-", {}, {"model": model}, rows)
    )
    return Scores(folder)


def ladder(folder: Path) -> tuple[Law, tuple[Checkpoint, ...], tuple[Scores, ...]]:
    """A planted ladder: models off the best size answer a little worse."""
    models = sweep(folder, of_best=(0.5, 2.0))
    here = work(folder / "law")
    fit_law.body(here, models, budgets=BUDGETS, target_flops=TARGET, resamples=2)
    rows = results.to_rows(here.results.values())
    write_metadata(here.out, ArtifactMetadata("Law", "law", "fit_law", 3, "3.2.1", "-", {}, {}, rows))
    measured = []
    for number, model in enumerate(models):
        nll = nll_at(model.result(TrainingResult).flops) + 0.02 * abs(number % 7 - 3)
        tasks = {
            "riddles": task_result(nll, CURVE.at(nll)),
            "noise": task_result(nll, 0.25),
            "unweighed": replace(task_result(nll, 0.5), gold_nll=None),
            "texts": TextResult(1.0, 0.9, 1.1, 3, 1.0, 2.7),
        }
        measured.append(scores(folder / f"scores-{number}", f"rung {number}", tasks))
    return Law(here.out), models, tuple(measured)


def foretold(folder: Path, *, others: str | None = None) -> TaskForecasts:
    here = work(folder / "forecast")
    forecast_tasks.body(here, *ladder(folder), target_flops=1e21, others=others)
    (found,) = here.results.values()
    assert json.loads((here.out / "scores.json").read_text(encoding="utf-8"))["target_flops"] == 1e21
    return found


def test_the_base_is_foretold_from_the_models_of_the_best_size(tmp_path: Path) -> None:
    found = foretold(tmp_path).tasks
    assert set(found) == {"riddles", "noise", "unweighed"}
    riddles = found["riddles"]
    assert riddles.refusal == ""
    assert riddles.nll is not None
    assert riddles.accuracy is not None
    assert [run.best_size for run in riddles.runs] == ([False] * 3 + [True] + [False] * 3) * 3
    assert all(run.loss for run in riddles.runs)
    assert riddles.nll.value == pytest.approx(nll_at(1e21), abs=0.01)
    assert riddles.accuracy.value == pytest.approx(CURVE.at(nll_at(1e21)), abs=0.05)
    assert riddles.accuracy.holds(CURVE.at(nll_at(1e21)))
    assert riddles.orders == pytest.approx(1.0)
    assert len(riddles.picture["runs"]) == 21


def test_what_tells_nothing_is_recorded_with_the_reason(tmp_path: Path) -> None:
    found = foretold(tmp_path).tasks
    assert "0 of 21 models are more than 10% above chance" in found["noise"].refusal
    assert found["noise"].nll is not None  # the first step is told nevertheless
    assert found["noise"].accuracy is None
    assert found["unweighed"].refusal == "its answers were not scored; measure them with gold_nll"


def test_further_models_tell_where_a_task_begins(tmp_path: Path) -> None:
    file = tmp_path / "others.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("task", "flops", "nll", "accuracy", "questions", "chance", "best_size"))
        for nll in (1.2, 1.1, 1.0, 0.9, 0.8):
            table.writerow(("noise", 1e23, nll, CURVE.at(nll), QUESTIONS, 0.25, 0))
    found = foretold(tmp_path, others=str(file)).tasks["noise"]
    assert len(found.runs) == 26
    assert found.accuracy is not None


def test_evaluations_of_other_models_are_refused(tmp_path: Path) -> None:
    law, models, measured = ladder(tmp_path)
    with pytest.raises(DataError, match="20 evaluations of 21 models are not those of the law's 21"):
        forecast_tasks.body(work(tmp_path / "few"), law, models, measured[:-1], target_flops=1e21)


def test_the_model_nearest_to_a_minimum_inside_is_of_the_best_size() -> None:
    def curve(best: float | None, *, inside: bool) -> IsoFlopCurve:
        tokens = (1e6, 2e6, 4e6, 8e6)
        return IsoFlopCurve(1e12, tokens, (3.0,) * 4, (1e5,) * 4, (1.0, 0.0, 0.0), 1.0, inside, "", best, 2.9)

    assert nearest_to_minima([curve(3e6, inside=True), curve(9e9, inside=False), curve(1.1e6, inside=True)]) == [2, 8]
    assert nearest_to_minima([curve(None, inside=False)]) == []


def test_a_run_measured_later_lies_in_the_interval_of_the_first_step() -> None:
    inside = 0
    for seed in range(20):
        *runs, largest = [run for run in family(seed) if run.best_size]
        inside += forecast_nll(runs, largest.flops, seed=seed).holds(largest.nll)
    assert inside >= 14  # of 90 % intervals over 3.6 orders of magnitude from six runs


def test_a_ladder_of_two_curves_with_a_minimum_forecasts_nothing() -> None:
    runs = [run for run in family(0) if run.best_size][:2]
    found = task_forecast(runs, 1e26, chance=0.25)
    assert isinstance(found, TaskForecast)
    assert found.refusal.startswith("2 models of the best size: 2 runs at 2 budgets make no line")
    assert (found.nll, found.accuracy, found.back_test) == (None, None, None)
