"""Questions with documents as they are released; the tasks made of them are tested in `tasks/test_ruler.py`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.errors import DataError
from herd.evals.ruler_documents import DocumentPrompts, DocumentQuestion, read_hotpot, read_squad
from herd.evals.sized import PromptDraw, TokenCounts
from tests.tokens.test_chat import TOKENIZER

DOCUMENTS = [f"Document about subject {n}. {'It has words. ' * (n % 5)}".strip() for n in range(60)]
QUESTIONS = [DocumentQuestion(f"What is subject {n}?", (f"subject {n}",), (n,), (n + 1, n + 2)) for n in range(10)]


def test_those_that_answer_and_those_on_the_subject_come_first() -> None:
    prompts = DocumentPrompts(QUESTIONS, DOCUMENTS, seed=1)
    for number in range(12):
        gold = number % 10
        for units in (0, 1, 2, 5):
            text = prompts.render(PromptDraw("x", 1, 500, number), units).text
            assert text.count("Document ") - text.count("Document about") == units + 1
            assert f"{DOCUMENTS[gold]}\n" in text
            near = sum(f"\n{DOCUMENTS[gold + offset]}\n" in text for offset in (1, 2))
            assert near == min(units, 2)


def test_documents_cost_what_is_counted_of_them() -> None:
    prompts, counts = DocumentPrompts(QUESTIONS, DOCUMENTS, seed=1), TokenCounts(TOKENIZER)
    fixed = set()
    for number in range(10):
        draw = PromptDraw("x", 1, 1500, number)
        units, tokens = prompts.fit(draw, 1500, counts)
        assert tokens <= 1500
        fixed.add(len(TOKENIZER.encode(prompts.render(draw, units).text)) - tokens)
    assert len(fixed) == 1


def test_few_documents_all_stand_in_a_long_text() -> None:
    prompts, counts = DocumentPrompts(QUESTIONS, DOCUMENTS, seed=1), TokenCounts(TOKENIZER)
    assert prompts.fit(PromptDraw("x", 1, 9, 0), 100_000, counts)[0] == len(DOCUMENTS) - 1


def test_released_files_are_read(tmp_path: Path) -> None:
    squad = tmp_path / "squad.json"
    asked = [{"question": "Where?", "answers": [{"text": "here"}, {"text": "here"}, {"text": "in it"}]}]
    asked.append({"question": "Why?", "answers": [], "is_impossible": True})  # type: ignore[dict-item]
    squad.write_text(
        json.dumps({"data": [{"paragraphs": [{"context": "B", "qas": asked}, {"context": "A", "qas": []}]}]})
    )
    questions, documents = read_squad(str(squad))
    assert documents == ["A", "B"]
    assert questions == [DocumentQuestion("Where?", ("here", "in it"), (1,), (0,))]
    hotpot = tmp_path / "hotpot.json"
    hotpot.write_text(
        json.dumps([{"question": "Who?", "answer": "he", "context": [["T", ["a. ", "b."]], ["S", ["c."]]]}])
    )
    expected = ([DocumentQuestion("Who?", ("he",), (1, 0))], ["S\nc.", "T\na. b."])
    assert read_hotpot(str(hotpot)) == expected
    columns = {"title": ["T", "S"], "sentences": [["a. ", "b."], ["c."]]}  # as a folder of the Hub has it
    hotpot.write_text(json.dumps([{"question": "Who?", "answer": "he", "context": columns}]))
    assert read_hotpot(str(hotpot)) == expected


def test_nothing_to_ask_is_said(tmp_path: Path) -> None:
    squad = tmp_path / "squad.json"
    squad.write_text(json.dumps({"data": []}))
    with pytest.raises(DataError, match="no question with an answer"):
        DocumentPrompts(*read_squad(str(squad)), seed=1)
