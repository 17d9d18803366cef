"""Tasks on a user's own files: rows become examples, and what is right counts as right."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Message
from herd.core.settings import build, dump
from herd.evals.harness import TaskScore, evaluate
from herd.evals.stages import EvaluationSettings
from herd.evals.task import LogLikelihood, ModelAnswer, Perplexity, Task
from herd.evals.tasks import tasks
from herd.judge.verifiers import verifiers
from tests.evals.models import Scripted
from tests.tokens.test_chat import TOKENIZER

SHARED = Path(__file__).parents[3] / "shared" / "data"
SUMS = [{"question": f"What is {a} and 1?", "answer": f"{a} and 1 make more.\n#### {a + 1}"} for a in range(1, 7)]
CHOICES = [
    {"question": "Which flies?", "choices": ["a stone", "a bird", "a house"], "answer": 1},
    {"question": "Which is wet?", "choices": ["rain", "sand"], "answer": 0},
]


def written(file: Path, rows: list[dict[str, Any]]) -> str:
    """The rows in a file of the kind its name says."""
    if file.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    elif file.suffix in (".csv", ".tsv"):
        with file.open("w", newline="") as out:
            table = csv.DictWriter(out, list(rows[0]), delimiter="\t" if file.suffix == ".tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    elif file.suffix == ".json":
        file.write_text(json.dumps(rows))
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def made(name: str, **settings: Any) -> Task:
    return tasks.make(tasks.configure(name, **settings))()


def scored(task: Task, say, *, chat: bool = False) -> tuple[float | None, ...]:
    found = evaluate(Scripted(TOKENIZER, say), TOKENIZER, task, chat=chat)
    assert isinstance(found, TaskScore)
    return found.scores


def test_a_verifier_goes_with_its_task_to_the_process_that_evaluates(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", SUMS)
    for verifier in ({}, {"verifier": "exact_match"}):
        row = {"tasks": [{"short_answer": {"data": data, **verifier}}]}
        settings = build(EvaluationSettings, row, where="recipe")
        assert build(EvaluationSettings, json.loads(json.dumps(dump(settings))), where="stage") == settings


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_the_same_rows_are_read_from_every_kind_of_file(ending: str, tmp_path: Path) -> None:
    task = made("short_answer", data=written(tmp_path / f"rows.{ending}", SUMS))
    assert [one.row["question"] for one in task.examples] == [row["question"] for row in SUMS]
    assert task.examples[0].target == f" {SUMS[0]['answer']}"
    assert len({one.id for one in task.examples}) == len(SUMS)


def test_an_answer_is_right_by_its_last_number(tmp_path: Path) -> None:
    task = made("short_answer", data=written(tmp_path / "rows.jsonl", SUMS), limit=3)
    said = {"1": " so it is 2.", "2": " it is 3, or 4.", "3": " That makes 3\n#### 4\n\nQuestion: What is 9?"}
    assert scored(task, lambda asked: said[asked.split("What is ")[-1][0]]) == (1.0, 0.0, 1.0)
    strict = made(
        "short_answer",
        data=written(tmp_path / "rows.jsonl", SUMS),
        verifier=verifiers.configure("exact_match"),
        limit=1,
    )
    assert scored(strict, lambda asked: " 2") == (0.0,)
    assert scored(strict, lambda asked: strict.examples[0].target) == (1.0,)


def test_shots_stand_before_every_question_and_are_not_asked(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", SUMS)
    task = made("short_answer", data=data, num_fewshot=2, limit=3, prompt_suffix=" Think.")
    assert [one.row for one in task.examples] == SUMS[2:5]
    prompt = task.prompt_for(task.examples[0])
    assert prompt.plain.startswith(
        "Question: What is 1 and 1?\nAnswer: 1 and 1 make more.\n#### 2\n\nQuestion: What is 2"
    )
    assert prompt.plain.endswith("Question: What is 3 and 1?\nAnswer:")
    assert [one.role for one in prompt.chat.messages] == ["user", "assistant", "user", "assistant", "user"]
    assert prompt.chat.last == Message("user", "What is 3 and 1? Think.")
    with pytest.raises(DataError, match="leaves none to ask"):
        made("short_answer", data=data, num_fewshot=6)


def test_an_answer_nobody_can_judge_is_void(tmp_path: Path) -> None:
    rows = [SUMS[0], {"question": "Who?", "answer": "nobody knows"}]
    task = made("short_answer", data=written(tmp_path / "rows.jsonl", rows))
    assert scored(task, lambda asked: " 2") == (1.0, None)


@pytest.mark.skipif(not (SHARED / "gsm8k").exists(), reason="no GSM8K beside the repository")
def test_gsm8ks_own_answers_are_right_and_other_ones_are_not() -> None:
    task = made("short_answer", data=str(SHARED / "gsm8k" / "train.jsonl.gz"), limit=200)
    golds = [Message("assistant", one.target) for one in task.examples]

    def share(answers: list[Message]) -> float:
        pairs = zip(task.examples, answers, strict=True)
        return sum(task.judge(one, ModelAnswer(said.content, said)).score or 0.0 for one, said in pairs) / len(golds)

    assert share(golds) == 1.0
    assert share(golds[1:] + golds[:1]) < 0.1


def test_choices_are_listed_by_letter_or_compared_as_text(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", CHOICES)
    letters, texts = made("multiple_choice", data=data), made("multiple_choice", data=data, choice_format="text")
    assert letters.prompt_for(letters.examples[0]).plain == ("Which flies?\nA. a stone\nB. a bird\nC. a house\nAnswer:")
    assert texts.prompt_for(texts.examples[0]).plain == "Which flies?\nAnswer:"
    assert isinstance(letters.output_type, LogLikelihood)
    assert letters.output_type.choices(letters.examples[0]) == [" A", " B", " C"]
    assert [one.target for one in letters.examples] == [" B", " A"]
    assert [one.target for one in texts.examples] == [" a bird", " rain"]
    shown = made("multiple_choice", data=data, num_fewshot=1)
    assert shown.prompt_for(shown.examples[0]).plain.startswith(
        "Which flies?\nA. a stone\nB. a bird\nC. a house\nAnswer: B\n\nWh"
    )


@pytest.mark.parametrize(
    ("columns", "row", "right"),
    [
        ({}, {"choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answer": "2"}, " B"),  # ARC's
        ({}, {"choices": ["x", "y"], "answer": "B"}, " B"),
        ({}, {"choices": ["x", "y"], "answer": "y"}, " B"),
        ({"choices": ("A", "B")}, {"A": "x", "B": "y", "answer": "B"}, " B"),  # MMLU's
        ({"choices": ("good", "bad")}, {"good": "x", "bad": "y", "answer": "good"}, " A"),
    ],
)
def test_the_right_choice_is_named_in_any_usual_way(columns, row, right: str, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", [{"question": "?", **row}])
    assert made("multiple_choice", data=data, **columns).examples[0].target == right


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([{"question": "?", "choices": ["x", "y"], "answer": "Q"}], "is none of 2 choices"),
        ([{"question": "?", "choices": "xy", "answer": 0}], "no list of choices"),
        ([{"query": "?", "choices": ["x", "y"], "answer": 0}], "row 1 has no column 'question'; it has query, choices"),
        ([["x"]], "row 1 is a list"),
    ],
)
def test_rows_that_cannot_be_asked_are_told_and_not_left_out(rows, why: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=why):
        made("multiple_choice", data=written(tmp_path / "rows.jsonl", rows))


def test_perplexity_is_of_a_file_or_of_a_column(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("It was a dark night.")
    one = made("perplexity", data=str(tmp_path / "book.txt"))
    rows = made("perplexity", data=written(tmp_path / "rows.jsonl", [{"body": "a"}, {"body": "b"}]), text="body")
    assert isinstance(one.output_type, Perplexity)
    assert one.prompt_for(one.examples[0]).plain == "It was a dark night."
    assert [rows.prompt_for(each).plain for each in rows.examples] == ["a", "b"]


def test_a_files_contents_are_part_of_what_a_task_is(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    before = tasks.dump(tasks.configure("short_answer", data=written(file, SUMS)))
    assert tasks.parse(before) == tasks.configure("short_answer", data=str(file))
    after = tasks.dump(tasks.configure("short_answer", data=written(file, SUMS[:3])))
    assert before != after
    with pytest.raises(SettingsError, match="is not a setting"):
        tasks.configure("short_answer", data=str(file), shot=1)
