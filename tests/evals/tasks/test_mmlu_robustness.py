"""MMLU in the forms people have it, asked in every variant."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError
from herd.evals.harness import TaskScore, evaluate
from herd.evals.robustness import VARIANTS
from herd.evals.task import Task
from herd.evals.tasks import tasks
from tests.evals.test_harness import ENGINE, TOKENIZER


def built(**settings: Any) -> Task:
    task = tasks.make(tasks.configure("mmlu_robustness", **settings))()
    assert isinstance(task, Task)
    return task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The release's form: a table without a header for every subject and split."""
    for split, count in (("dev", 5), ("test", 3)):
        (tmp_path / split).mkdir()
        for subject in ("anatomy", "world_religions"):
            with (tmp_path / split / f"{subject}_{split}.csv").open("w", newline="") as out:
                csv.writer(out).writerows(
                    [f"What {subject} {n}?", *(f"choice {n}{letter}" for letter in "abcd"), "ABCD"[n % 4]]
                    for n in range(count)
                )
    return tmp_path


def test_every_question_is_asked_in_every_variant(folder: Path) -> None:
    task = built(data=str(folder))
    assert len(task.examples) == 6 * len(VARIANTS)
    prompt = task.prompt_for(task.examples[0]).plain
    assert prompt.startswith("The following are multiple choice questions (with answers) about anatomy.")
    assert prompt.count("Answer:") == 5
    assert task.notes == ("6 of the 14,042 examples of split test",)
    two = built(data=str(folder), limit=2, factors=("template",))
    assert {example.row["variant"] for example in two.examples} == {"base", *(f"template {n}" for n in range(1, 5))}
    assert len(two.examples) == 10
    assert "world religions" in two.prompt_for(two.examples[-1]).plain


def test_a_model_is_scored_by_variant(folder: Path) -> None:
    task = built(data=str(folder), num_fewshot=0, limit=2, factors=("labels",))
    score = evaluate(ENGINE, TOKENIZER, task, chat=False, truncate_left=True)
    assert isinstance(score, TaskScore)
    assert {"base", "labels A)", "labels 1.", "spread of labels"} < set(score.metrics)
    assert set(score.by_group) == {name for name in score.metrics if not name.startswith("spread")}
    assert "spread of labels" in str(score)


def test_rows_of_the_hub_and_shots_that_are_too_few(folder: Path, tmp_path: Path) -> None:
    rows = tmp_path / "hub"
    rows.mkdir()
    for split in ("test", "dev"):
        row = {"question": "Who?", "choices": list("wxyz"), "answer": 2, "subject": "anatomy"}
        (rows / f"{split}.jsonl").write_text(json.dumps(row))
    assert built(data=str(rows), num_fewshot=1).examples[0].target == " C"
    with pytest.raises(DataError, match="4 shots are wanted and 'anatomy' has 1; set num_fewshot lower"):
        built(data=str(rows))
