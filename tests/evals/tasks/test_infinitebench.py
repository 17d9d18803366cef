"""InfiniteBench's twelve tasks on rows as they are released."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import DataError
from herd.core.records import Message
from herd.evals.sized import PromptReader, SizedTask
from herd.evals.task import ModelAnswer, Task
from herd.evals.tasks import tasks
from herd.evals.tasks.infinitebench import SUBSETS
from tests.tokens.test_chat import TOKENIZER

ROWS: dict[str, tuple[dict[str, Any], str, str]] = {  # a row, a right answer, a wrong one
    "infinitebench_passkey": ({"input": "What is the pass key?", "answer": ["71432"]}, "It is 71432.", "71433"),
    "infinitebench_number": ({"input": "What is the number?", "answer": ["9999991111"]}, "9999991111", "999999111"),
    "infinitebench_kv": ({"input": 'Key: "a-1"', "answer": ["b-2"]}, '"b-2"', "b-3"),
    "infinitebench_en_sum": ({"input": "", "answer": ["A cat sleeps."]}, "A cat sleeps.", "Dogs bark"),
    "infinitebench_en_qa": ({"input": "Who?", "answer": ["the cat", "a cat"]}, "Cat", "dog"),
    "infinitebench_en_mc": (
        {"input": "Who?", "answer": ["cat"], "options": ["dog", "cat", "cow", "hen"]}, "B", "A",
    ),
    "infinitebench_en_dia": ({"input": "", "answer": ["HOLMES"]}, "Holmes", "Watson"),
    "infinitebench_zh_qa": ({"input": "谁？", "answer": ["猫"]}, "猫。", "狗"),
    "infinitebench_code_debug": (
        {"input": "", "answer": ["app.run"], "options": ["app.run", "x.y", "z", "w"]}, "A", "app.ran",
    ),
    "infinitebench_code_run": ({"input": "Please give me func_1(3).", "answer": [-7]}, "returns -7", "7"),
    "infinitebench_math_calc": ({"input": "1 + 2 - 4", "answer": [1, 3, -1]}, "1, 3, -1", "2"),
    "infinitebench_math_find": ({"input": "What is the largest?", "answer": 42}, "42", "41"),
}  # fmt: skip


def built(name: str, folder: Path, rows: list[dict[str, Any]], context: int = 1 << 14, **settings: Any) -> Task:
    subset = SUBSETS[name.removeprefix("infinitebench_")]
    (folder / f"{subset.file}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = tasks.make(tasks.configure(name, data=str(folder), **settings))()
    assert isinstance(task, SizedTask)
    return task.build(PromptReader(TOKENIZER, False, context))


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_asked_and_scored(name: str, tmp_path: Path) -> None:
    row, right, wrong = ROWS[name]
    full = {"id": 3, "context": "The text. " * 20, "options": [], **row}
    task = built(name, tmp_path, [full], max_tokens=10)
    (example,) = task.examples
    assert example.id == "3"
    prompt = task.prompt_for(example).plain
    assert full["context"] in prompt
    if name not in ("infinitebench_code_run",):
        assert full["input"] in prompt
    assert all(f"{letter}. {option}" in prompt for letter, option in zip("ABCD", full["options"], strict=False))
    for answer, score in ((right, 1.0), (wrong, 0.0)):
        assert task.judge(example, ModelAnswer(answer, Message("assistant", answer))).score == score


def test_all_twelve_are_there_with_their_lengths_of_answers() -> None:
    assert {f"infinitebench_{name}" for name in SUBSETS} == set(ROWS)
    assert {subset.file: subset.max_tokens for subset in SUBSETS.values()}["longbook_sum_eng"] == 1200


def test_a_book_too_long_loses_its_middle(tmp_path: Path) -> None:
    book = " ".join(f"page{n}" for n in range(500))
    task = built("infinitebench_en_qa", tmp_path, [{"id": 1, "context": book, "input": "Who?", "answer": ["x"]}], 1000)
    prompt = task.prompt_for(task.examples[0]).plain
    assert "page0 page1" in prompt
    assert "page498 page499" in prompt
    assert "page250" not in prompt
    assert prompt.endswith("Question: Who?\n\nAnswer:")
    assert task.notes == ("1 of 1 text lost the middle, to fit 960 tokens",)


def test_rows_that_are_not_so_are_said(tmp_path: Path) -> None:
    row = {"id": 1, "context": "x", "input": "Who?", "answer": ["nobody"], "options": ["a", "b", "c", "d"]}
    with pytest.raises(DataError, match="none of the options"):
        built("infinitebench_en_mc", tmp_path, [row])
    with pytest.raises(DataError, match="no column 'context'"):
        built("infinitebench_en_qa", tmp_path, [{"id": 1, "input": "Who?", "answer": ["x"]}])
    twice = {"id": 1, "context": "x", "input": "Who?", "answer": ["x"]}
    with pytest.raises(DataError, match="have one id"):
        built("infinitebench_en_qa", tmp_path, [twice, twice])
