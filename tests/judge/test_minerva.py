"""Answers to competition maths in one form."""

from __future__ import annotations

import time

import pytest

from herd.judge.minerva import INVALID_ANSWER, final_answer, gold_answer, normalize_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\frac12", r"\frac{1}{2}"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"\sqrt[3]8", r"\sqrt[3]{8}"),
        ("x = 5", "5"),
        (r"12 \text{ cm}", r"12"),
        (r"2\pi cm", r"2\pi"),
        (r"\left(1,2\right)", r"\left(1,2\right)"),  # a unit within a command's name stays
        ("100,000", "100000"),
        ("0,1", "0,1"),
        (r"10{,}000", "10000"),
        (r"45^\circ", "45"),
        (r"$\text{yes}$", "yes"),
        (r"\$18.90", "18.90"),
        ("5 square units", "5"),
    ],
)
def test_marks_and_units_go(text: str, answer: str) -> None:
    assert normalize_answer(text) == answer


def test_the_final_answer_is_after_its_words() -> None:
    said = "x\nFinal Answer: The final answer is $5$. I hope it is correct."
    assert final_answer(said) == "$5$"
    assert final_answer("Final Answer: The final answer is $5$. ") == "$5$"
    assert final_answer("It is 5") == INVALID_ANSWER
    assert gold_answer(r"so $x=\boxed{10{,}000}$") == "10000"


def test_hostile_answers_are_read_in_bounded_time() -> None:
    start = time.process_time()
    for text in (
        "a" * 4096,
        "\\text{" * 600,
        "$" + "a" * 4000,
        "{" * 10**6,
        "Final Answer: The final answer is" * 30_000,
    ):
        normalize_answer(text)
        final_answer(text)
    assert time.process_time() - start < 20
