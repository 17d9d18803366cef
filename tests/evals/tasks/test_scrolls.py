"""SCROLLS and ZeroSCROLLS on rows as they are released."""

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
from tests.tokens.test_chat import TOKENIZER

RIGHT = {  # an output, and an answer that is right
    "zeroscrolls_gov_report": ("A cat sleeps.", "A cat sleeps."),
    "zeroscrolls_summ_screen_fd": ("A cat sleeps.", "A cat sleeps."),
    "zeroscrolls_qmsum": ("A cat sleeps.", "A cat sleeps."),
    "zeroscrolls_squality": ("A cat sleeps.", "A cat sleeps."),
    "zeroscrolls_qasper": ("The cat", "cat"),
    "zeroscrolls_narrative_qa": ("The cat", "cat"),
    "zeroscrolls_quality": ("(B) The cat", "B"),
    "zeroscrolls_musique": ("The cat", "cat"),
    "zeroscrolls_space_digest": ("60%", "60"),
    "zeroscrolls_book_sum_sort": ("2, 1, 3", "2,1,3"),
    "scrolls_gov_report": ("A cat sleeps.", "A cat sleeps."),
    "scrolls_summ_screen_fd": ("A cat sleeps.", "A cat sleeps."),
    "scrolls_qmsum": ("A cat sleeps.", "A cat sleeps."),
    "scrolls_narrative_qa": ("The cat", "cat"),
    "scrolls_qasper": ("The cat", "cat"),
    "scrolls_quality": ("The cat", "cat"),
    "scrolls_contract_nli": ("Not mentioned", "not mentioned"),
}


def built(name: str, folder: Path, rows: list[dict[str, Any]], context: int = 4096, **settings: Any) -> Task:
    (folder / "validation.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = tasks.make(tasks.configure(name, data=str(folder), split="validation", **settings))()
    assert isinstance(task, SizedTask)
    return task.build(PromptReader(TOKENIZER, False, context))


@pytest.mark.parametrize("name", RIGHT)
def test_rows_are_asked_and_scored(name: str, tmp_path: Path) -> None:
    output, right = RIGHT[name]
    rows = [{"id": "a", "input": "Who sleeps?\n\nThe cat.", "output": text} for text in (output, "something else 99")]
    task = built(name, tmp_path, rows)
    (example,) = task.examples  # two right answers of one question
    assert task.prompt_for(example).plain == rows[0]["input"]
    for answer, score in ((right, 1.0), ("", 0.0)):
        assert task.judge(example, ModelAnswer(answer, Message("assistant", answer))).score == pytest.approx(score)


def test_only_the_document_is_cut(tmp_path: Path) -> None:
    head, document, query = "Read this.\n\n", " ".join(f"line{n}" for n in range(400)), "\n\nQuestion: who?\nAnswer:"
    row = {
        "id": "a", "input": head + document + query, "output": ["cat", "dog"], "document_start_index": len(head),
        "document_end_index": len(head) + len(document),
    }  # fmt: skip
    task = built("zeroscrolls_qasper", tmp_path, [row], 800, truncate="right")
    prompt = task.prompt_for(task.examples[0]).plain
    assert prompt.startswith(f"{head}line0 line1")
    assert prompt.endswith(query)
    assert "line399" not in prompt
    assert task.notes == ("1 of 1 text lost the end, to fit 672 tokens",)
    assert task.judge(task.examples[0], ModelAnswer("dog", Message("assistant", "dog"))).score == 1.0


def test_a_split_without_answers_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="take the validation split"):
        built("zeroscrolls_quality", tmp_path, [{"id": "a", "input": "Who?", "output": None}])
