"""Tables of results and runs' folders are read alike, and what is none is told."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from herd.core.artifacts import ArtifactMetadata, Checkpoint, Law, write_metadata
from herd.core.errors import ArtifactError, DataError
from herd.core.results import results
from herd.evals.results import EvaluationResult
from herd.scaling.stages import fit_law
from herd.scaling.tables import by_task, choices_in, metric_correlations, results_in, task_threshold, threshold_line
from herd.train.results import TrainingResult
from tests.imported import work
from tests.scaling.test_stages import BUDGETS, TARGET, sweep, trained
from tests.scaling.test_tasks import CURVE, nll_at, task_result

COLUMNS = ("task", "flops", "question", "choice", "log_p", "right")


def evaluated(artifacts: Path, model: Checkpoint, number: int) -> None:
    """An evaluation with choices of one model of a run."""
    folder = artifacts / f"evaluate_model-{number}"
    folder.mkdir()
    nll = nll_at(model.result(TrainingResult).flops)
    tasks = {"riddles": task_result(nll, float(CURVE.at(nll)))}
    rows = [{"log_likelihoods": [-4 * nll, -6.0, -7.0][: 2 + n % 2], "right": 0} for n in range(5)]
    (folder / "scores.json").write_text(json.dumps({"choices": {"riddles": [*rows, rows[0] | {"right": None}]}}))
    recorded = results.to_rows([EvaluationResult(f"model {number}", False, tasks)])
    write_metadata(
        folder,
        ArtifactMetadata("Scores", folder.name, "evaluate_model", 5, "5", "-", {}, {"model": model.key}, recorded),
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a ladder, its law, a base model and their evaluations."""
    folder = tmp_path_factory.mktemp("run")
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    models = sweep(artifacts, of_best=(0.5, 2.0))
    here = work(folder / "law")
    fit_law.body(here, models, budgets=BUDGETS, target_flops=TARGET, resamples=2)
    (artifacts / "fit_law-1").mkdir()
    write_metadata(
        artifacts / "fit_law-1",
        ArtifactMetadata(
            "Law",
            "fit_law-1",
            "fit_law",
            3,
            "3.2.1",
            "-",
            {},
            {"models": [model.key for model in models]},
            results.to_rows(here.results.values()),
        ),
    )
    base = trained(artifacts / "base", 1e8, 1e22 / 6e8, 2.0)
    for number, model in enumerate((*models, base)):
        evaluated(artifacts, model, number)
    return folder


def test_a_run_tells_what_its_ladder_and_its_base_scored(run: Path) -> None:
    ((name, (chance, runs)),) = results_in(run).items()
    assert (name, chance, len(runs)) == ("riddles", 0.25, 22)
    assert sorted(round(np.log10(one.flops)) for one in runs if one.best_size) == [18, 19, 20, 22]
    assert all(one.loss is not None for one in runs)
    assert Law.open(run / "artifacts" / "fit_law-1")


def test_a_run_tells_which_metric_follows_compute(run: Path) -> None:
    (models,) = choices_in(run).values()
    assert len(models) == 22
    assert all(model.right == (0,) * 5 for model in models)  # without the question that names no choice
    assert metric_correlations(models)["log_p"] > 0.9  # likelihoods rise with compute alone, and many have as much


def test_a_threshold_is_over_the_loss_where_it_is_known(run: Path, tmp_path: Path) -> None:
    found = by_task(results_in(run), task_threshold)["riddles"]
    assert not isinstance(found, str)
    assert (found.unit, found.models, found.chance) == ("nats a token", 22, 0.25)
    file = tmp_path / "results.csv"
    losses = np.linspace(1.5, 3.0, 16)
    lines = [f"hidden,1e{20 + n},{loss},{0.25 + 0.4 * max(0, 2.2 - loss)},1000,0.25" for n, loss in enumerate(losses)]
    file.write_text("task,flops,nll,accuracy,questions,chance\n" + "\n".join([*lines, "few,1e20,1,0.5,9,0"]))
    of_table = by_task(results_in(file), task_threshold)
    planted = of_table["hidden"]
    assert not isinstance(planted, str)
    assert planted.preferred
    assert planted.threshold.loss == pytest.approx(2.2, abs=0.05)
    told = threshold_line(planted)
    assert re.match(r"begins below 2\.\d+ nats of the right answer a character \[.*40\.0% more right", told)
    assert of_table["few"] == "1 models say nothing of a threshold; measure 8 or more"


def table(file: Path, rows: Sequence[tuple[object, ...]], columns: tuple[str, ...] = COLUMNS) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return file


def test_metrics_of_a_table_follow_compute_as_they_were_planted(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = []
    for step, flops in enumerate(np.geomspace(1e18, 1e22, 8)):
        for question in range(40):
            for choice in range(3):
                level = -5.0 + 0.3 * step * (choice == 0) + chance.normal(0, 0.1 if choice == 0 else 1.0)
                rows.append(("t", flops, question, choice, level, int(choice == 0)))
    (models,) = choices_in(table(tmp_path / "choices.csv", rows)).values()
    found = metric_correlations(models)
    assert list(found) == ["log_p", "p_choices", "brier", "accuracy"]
    assert found["log_p"] > found["p_choices"] > found["accuracy"] > 0.1


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ([], COLUMNS, "holds no choices"),
        ([], COLUMNS[:3], "no column choice; the first line must name task"),
        ([("t", "1e18", 0, 0, "low", 1)], COLUMNS, r"csv:2: flops and log_p are numbers"),
        ([("t", "1e18", 0, 0, -1, 1)], COLUMNS, r"question '0' at 1e\+18 FLOPs has 1 choices, 1 of them right"),
        ([("t", "1e18", 0, n, -1, 1) for n in range(2)], COLUMNS, "has 2 choices, 2 of them right"),
    ],
)
def test_a_table_of_choices_that_cannot_be_read(
    rows: Sequence[tuple[object, ...]], columns: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        choices_in(table(tmp_path / "choices.csv", rows, columns))


def test_models_that_were_asked_other_questions_are_refused(tmp_path: Path) -> None:
    rows = [("t", f"1e{18 + n}", q, c, -1, int(c == 0)) for n in range(3) for q in range(1 + n) for c in range(2)]
    (models,) = choices_in(table(tmp_path / "choices.csv", rows)).values()
    with pytest.raises(DataError, match="not asked the same questions"):
        metric_correlations(models)


def test_what_is_neither_table_nor_run_is_told(tmp_path: Path) -> None:
    for read in (results_in, choices_in):
        with pytest.raises(DataError, match="is no table and no run's folder"):
            read(tmp_path)
    trained(tmp_path / "artifacts" / "model", 1e6, 1e7, 3.0)
    with pytest.raises(ArtifactError, match="no model whose right answers were weighed"):
        results_in(tmp_path)
    with pytest.raises(ArtifactError, match="asked questions with choices"):
        choices_in(tmp_path)
