"""Choices that are compared by letter or text, and letters that are named."""

from __future__ import annotations

from typing import Any

from herd.core.records import Message
from herd.evals.benchmarks import BenchmarkQuestions, BenchmarkSettings
from herd.evals.choices import (
    ChoiceSettings,
    best_answer_question,
    choice_task,
    golds,
    grade_choices,
    letter_of,
    list_choices,
    named_letter_task,
    text_of,
)
from herd.evals.task import Example, Generate, LogLikelihood, ModelAnswer

ROW = {"id": "q", "question": "Which flies?", "choices": ["a stone", "a bird"], "gold": 1}
QUESTIONS = BenchmarkQuestions((ROW,), {"q": ({**ROW, "gold": 0},)}, ("half",))


def text(row: Any) -> str:
    return f"Question: {row['question']}\nAnswer:"


def test_texts_and_letters_of_the_same_question() -> None:
    texts = choice_task(ChoiceSettings(), QUESTIONS, text=text)
    assert isinstance(texts.output_type, LogLikelihood)
    example = texts.examples[0]
    assert texts.output_type.choices(example) == [" a stone", " a bird"]
    assert example.target == " a bird"
    assert texts.prompt_for(example).plain == (
        "Question: Which flies?\nAnswer: a stone\n\nQuestion: Which flies?\nAnswer:"
    )
    assert set(texts.metrics) == {"acc", "acc_norm"}
    assert texts.notes == ("half",)

    letters = choice_task(ChoiceSettings(scoring="letters"), QUESTIONS, text=text)
    assert isinstance(letters.output_type, LogLikelihood)
    assert letters.output_type.choices(letters.examples[0]) == [" A", " B"]
    assert letters.prompt_for(letters.examples[0]).plain.endswith(
        "Question: Which flies?\nA. a stone\nB. a bird\nAnswer:"
    )
    assert letters.examples[0].target == " B"
    one_line = choice_task(ChoiceSettings(scoring="letters"), QUESTIONS, text=lambda row: row["question"])
    assert one_line.prompt_for(one_line.examples[0]).plain.endswith("Which flies?\nA. a stone\nB. a bird\nAnswer:")


def answered(choice: int, *nats: float) -> ModelAnswer:
    return ModelAnswer("", Message("assistant", ""), choice=choice, log_likelihoods=nats)


def test_right_is_the_choice_by_number_and_parts_are_lm_evals() -> None:
    example = Example("q", ROW)
    grade = grade_choices(example, answered(0, -7.0, -6.1))  # by characters the stone, seven, is likelier
    assert (grade.score, grade.extracted) == (0.0, "a stone")
    assert grade.parts == {"acc": 1.0, "acc_norm": 0.0 if -7.0 / 7 > -6.1 / 6 else 1.0, "acc_bytes": 0.0}
    several = Example("q", {**ROW, "gold": [0, 1]})
    assert grade_choices(several, answered(0, -1.0, -2.0)).score == 1.0
    assert (golds(ROW), golds(several.row), letter_of(ROW), text_of(ROW)) == ((1,), (0, 1), "B", "a bird")
    assert list_choices(ROW, "\n({letter}) {choice}") == "\n(A) a stone\n(B) a bird"


def test_a_letter_is_named_after_the_words_that_the_answer_begins_with() -> None:
    task = named_letter_task(BenchmarkSettings(), QUESTIONS, question=best_answer_question, max_tokens=10, stop=(".",))
    example = task.examples[0]
    prompt = task.prompt_for(example)
    assert prompt.response_prefix == "The best answer is"
    assert "The best answer is A\n\nGiven the following" in prompt.plain
    assert prompt.text.endswith("one of A, B, C or D. The best answer is")
    assert task.output_type == Generate(10, (".",), chat_stop=(".",))
    for said, score in ((" B", 1.0), ("b.", 1.0), (" A", 0.0), ("B because", 0.0)):
        assert task.judge(example, ModelAnswer(said, Message("assistant", said))).score == score
    assert task.judge(example, ModelAnswer(" ", Message("assistant", " "))).unparsed
