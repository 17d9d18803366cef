"""Texts that are too long lose a part that is told, and questions none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.core.records import Message
from herd.evals.harness import TaskScore, evaluate
from herd.evals.long_text import LongQuestion, cut_text, long_text_task
from herd.evals.sized import PromptReader
from herd.evals.task import ModelAnswer
from herd.judge.long_text import word_in_answer
from tests.evals.models import Scripted
from tests.tokens.test_chat import TOKENIZER

TEXT = " ".join(f"word{n}" for n in range(400))


def question(text: str = TEXT, identity: str = "1") -> LongQuestion:
    return LongQuestion(identity, "Read.\n\n", text, "\n\nQuestion: who?", ("word1",), "It is")


@settings(max_examples=40)
@given(
    room=st.integers(120, 3000), chat=st.booleans(), truncation=st.sampled_from(["middle", "left", "right"]),
    signs=st.sampled_from(["word ", "日本語", "é😀 "]),
)  # fmt: skip
def test_what_is_left_fits_and_fills_the_room(room: int, chat: bool, truncation: str, signs: str) -> None:
    reader = PromptReader(TOKENIZER, chat, 4096)
    own = question(signs * 300)
    text, was_cut = cut_text(own, reader, room, truncation)  # type: ignore[arg-type]
    tokens = reader.count(own.prompt(text))
    assert tokens <= room
    assert was_cut == (reader.count(own.prompt(own.text)) > room)
    if was_cut:
        assert tokens > room - 16
        if truncation == "left":
            assert own.text.endswith(text)
        elif truncation == "right":
            assert own.text.startswith(text)
        else:
            assert own.text[:10] == text[:10]
            assert own.text[-10:] == text[-10:]
    else:
        assert text == own.text


def test_what_was_cut_is_told_with_the_score() -> None:
    questions = [question(), question("word1 only", "2")]
    task = long_text_task(questions, word_in_answer, max_tokens=8, truncation="middle", max_prompt_tokens=500)
    score = evaluate(Scripted(TOKENIZER, lambda asked: "word1"), TOKENIZER, task, chat=False)
    assert isinstance(score, TaskScore)
    assert score.interval.value == 1.0
    assert score.notes == ("1 of 2 texts lost the middle, to fit 500 tokens",)
    asked: list[str] = []
    whole = long_text_task(questions, word_in_answer, max_tokens=8, truncation="left")
    full = evaluate(Scripted(TOKENIZER, lambda prompt: asked.append(prompt) or "no"), TOKENIZER, whole, chat=False)
    assert isinstance(full, TaskScore)
    assert full.notes == ()
    assert full.interval.value == 0.0
    assert asked[0].endswith("Question: who? It is")
    assert TEXT in asked[0]


def test_a_text_too_long_is_refused_where_asked_for() -> None:
    task = long_text_task([question(TEXT * 4)], word_in_answer, max_tokens=8, truncation="refuse")
    with pytest.raises(DataError, match=r"takes \d+,\d+ tokens and has 4,088; set truncate"):
        evaluate(Scripted(TOKENIZER, str), TOKENIZER, task, chat=False)


def test_a_question_that_leaves_no_room_is_said() -> None:
    reader = PromptReader(TOKENIZER, False, 100)
    with pytest.raises(DataError, match="question '1' leaves no room for its text in 10 tokens"):
        cut_text(question(), reader, 10, "middle")


def test_a_grade_says_what_was_looked_for() -> None:
    task = long_text_task([question()], word_in_answer, max_tokens=8, truncation="middle").build(
        PromptReader(TOKENIZER, False, 4096)
    )
    grade = task.judge(task.examples[0], ModelAnswer(" word1 ", Message("assistant", "word1")))
    assert (grade.score, grade.extracted, grade.reason) == (1.0, "word1", "the answer is word1")
