"""Questions as examples: how they are put to either kind of model, and what of an answer counts."""

from __future__ import annotations

import pytest

from herd.core.records import Message
from herd.evals.task import ModelAnswer
from herd.world.examples import closed_example, example_of, first_answer_line, grade, prompt_for
from herd.world.questions import sum_question

QUESTION = sum_question(57, 68)


def test_a_base_model_is_given_text_and_a_chat_model_the_question() -> None:
    example = closed_example(QUESTION, "What is 1 + 1? so 2.\n")
    prompt = prompt_for(example)
    assert prompt.chat.messages == (Message("user", QUESTION.text),)
    assert prompt.plain == f"What is 1 + 1? so 2.\n{QUESTION.text}"
    assert example.target == f" {QUESTION.answers[0].content}"  # a word that goes on after a question has its space
    assert prompt_for(example_of(QUESTION, "a stem", "x")).plain == "a stem"
    assert example.id == QUESTION.id


def test_of_text_that_goes_on_the_first_line_counts_and_of_a_turn_all_of_it() -> None:
    example = closed_example(QUESTION, "")
    for text, plain, chat in (
        (" so 125.\nWhat is 1 + 1? so 2.", 1, 0),
        ("I add.\nso 125.", 0, 1),
        ("\n so 125.", 1, 1),
        ("", 0, 0),
    ):
        assert grade(example, ModelAnswer(text, Message("assistant", text))).score == plain
        assert grade(example, ModelAnswer(text, Message("assistant", text), chat=True)).score == chat
    told = grade(example, ModelAnswer(" so 12.\nmore", Message("assistant", "")))
    assert told.extracted == "so 12."
    assert QUESTION.answers[0].content in told.reason


@pytest.mark.parametrize(("text", "line"), [("a\nb", "a"), ("\n\n a \nb", "a "), ("", ""), ("   ", "")])
def test_the_first_line_is_the_first_that_says_something(text: str, line: str) -> None:
    assert first_answer_line(text) == line
