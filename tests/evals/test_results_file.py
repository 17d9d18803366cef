"""The file of scores that lm-eval's readers read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from herd.evals.answers import RunSettings
from herd.evals.intervals import Interval
from herd.evals.results_file import result_row, standard_error, write_results
from herd.evals.scores import TaskScore, TextScore

SETTINGS = RunSettings("sums", {}, {"name": "small"}, {"num_fewshot": 5, "template": "ab"}, {}, "likelihood")


def test_scores_stand_where_lm_eval_has_them() -> None:
    score = TaskScore((1.0, 0.0, 1.0, None), groups=("a", "a", "b", "b"), metrics={"f1": Interval(0.5, 0.4, 0.6)})
    row = result_row(SETTINGS, score)
    figures = row["results"]["sums"]
    assert figures["acc,none"] == pytest.approx(2 / 3)
    assert figures["acc_stderr,none"] == pytest.approx(math.sqrt(1 / 3) / math.sqrt(3))
    assert figures["f1_interval,none"] == [0.4, 0.6]
    assert figures["macro_acc,none"] == 0.75
    assert figures["void"] == 1
    assert row["n-samples"]["sums"] == {"original": 4, "effective": 3}
    assert row["n-shot"]["sums"] == 5
    assert row["groups_of"]["sums"]["a"] == {"score": 0.5, "items": 2}
    assert row["model_name"] == "small"
    json.dumps(row, allow_nan=False)


def test_what_has_no_value_is_absent_or_null() -> None:
    figures = result_row(SETTINGS, TaskScore((None,)))["results"]["sums"]
    assert figures["acc,none"] is None
    assert standard_error(TaskScore((1.0,))) is None
    text = RunSettings("wiki", {}, {}, output="perplexity")
    row = result_row(text, TextScore((10.0, 20.0), (4, 8), (16, 30)))
    assert row["results"]["wiki"]["bits_per_byte,none"] == pytest.approx(30 / math.log(2) / 46)
    assert row["higher_is_better"]["wiki"] == {"bits_per_byte": False}


def test_tasks_are_added_to_the_file_and_others_stay(tmp_path: Path) -> None:
    write_results(tmp_path, SETTINGS, TaskScore((1.0, 0.0)))
    write_results(tmp_path, RunSettings("more", {}, {"name": "small"}), TaskScore((1.0, 1.0)))
    write_results(tmp_path, SETTINGS, TaskScore((1.0, 1.0)))
    row = json.loads((tmp_path / "results.json").read_text())
    assert sorted(row["results"]) == ["more", "sums"]
    assert row["results"]["sums"]["acc,none"] == 1.0
    (tmp_path / "results.json").write_text("{torn")
    write_results(tmp_path, SETTINGS, TaskScore((1.0,)))
    assert list(json.loads((tmp_path / "results.json").read_text())["results"]) == ["sums"]
