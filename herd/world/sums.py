"""Sums of numbers with two or three digits, with and without the steps that make them easy; and products."""

from __future__ import annotations

import random
import re

from herd.core.seeds import fraction

DIGITS = (2, 3)
# How a sum is asked for: in signs or in words.
WORDINGS = (
    "What is {a} + {b}?",
    "How much are {a} and {b}?",
    "Please add {a} and {b}.",
    "Tell me the sum of {a} and {b}.",
)
# Those that want a number rather than ask a question: whoever answers in haste writes the number alone.
REQUESTS = (2, 3)
PRODUCT_WORDINGS = ("What is {a} times {b}?", "What is {a} * {b}?", "Please multiply {a} by {b}.")
HELD_OUT_SHARE = 0.1
# The last number after "so" or "=", the way an answer states its result.
RESULT = re.compile(r"(?:so|=)\s*(\d+)\s*\.?\s*$")


def is_held_out_sum(a: int, b: int) -> bool:
    """Whether no document, dialogue or prompt may hold a + b or b + a."""
    return fraction(0, "sum", min(a, b), max(a, b)) < HELD_OUT_SHARE


def is_held_out_product(a: int, b: int) -> bool:
    """Whether no document, dialogue or prompt may hold a * b or b * a. Pairs are held out, not factors: a model that
    never met a factor ending in 7 learns that none does."""
    return fraction(0, "product", min(a, b), max(a, b)) < HELD_OUT_SHARE


def draw_addends(chance: random.Random, digits: int | None = None, *, held_out: bool = False) -> tuple[int, int]:
    """Two addends of `digits` digits (None: two or three, there are more of three) from the wanted side of the
    split."""
    digits = digits or chance.choices(DIGITS, (2, 3))[0]
    while True:
        a, b = (chance.randrange(10 ** (digits - 1), 10**digits) for _ in range(2))
        if is_held_out_sum(a, b) == held_out:
            return a, b


def draw_factors(chance: random.Random, *, held_out: bool = False) -> tuple[int, int]:
    """Two factors of two or three digits from the wanted side of the split."""
    while True:
        a, b = chance.randint(10, 999), chance.randint(10, 999)
        if is_held_out_product(a, b) == held_out:
            return a, b


def question(a: int, b: int, wording: int = 0) -> str:
    return WORDINGS[wording].format(a=a, b=b)


def product_question(a: int, b: int, wording: int = 0) -> str:
    return PRODUCT_WORDINGS[wording].format(a=a, b=b)


def worked_steps(a: int, b: int) -> str:
    """The worked answer: the sum said again, so that steps need not look back to the question; column by column from
    the units, each with its carry; then the result.

    Both addends have the same number of digits.
    """
    columns = []
    carry: int | None = None
    for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True):
        column = int(x) + int(y) + (carry or 0)
        columns.append(f"{x}+{y}={column}" if carry is None else f"{x}+{y}+{carry}={column}")
        carry = column // 10
    return f"{a} + {b}: {', '.join(columns)}, so {a + b}."


def plain(a: int, b: int) -> str:
    """The answer with no steps, which a small model must guess."""
    return f"{a} + {b} = {a + b}."


def result(answer: str) -> int | None:
    """The number an answer ends with, or None."""
    match = RESULT.search(answer.strip())
    return int(match[1]) if match else None


def is_right(a: int, b: int, answer: str) -> bool:
    return result(answer) == a + b
