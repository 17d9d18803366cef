"""ROUGE."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.rouge import MAX_WORDS, rouge_l, rouge_l_sum, rouge_n, rouge_words

WORDS = st.lists(st.sampled_from(["the", "cat", "sat", "on", "a", "mat"]), max_size=12)


def longest(first: list[str], second: list[str]) -> int:
    """By the textbook's table."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for row, word in enumerate(first):
        for column, other in enumerate(second):
            table[row + 1][column + 1] = max(
                table[row][column] + 1 if word == other else 0, table[row][column + 1], table[row + 1][column]
            )
    return table[-1][-1]


@given(WORDS, WORDS)
def test_the_longest_common_subsequence(first: list[str], second: list[str]) -> None:
    common = longest(first, second)
    expected = 2 * common / (len(first) + len(second)) if common else 0.0
    assert rouge_l(" ".join(first), " ".join(second)) == pytest.approx(expected)


def test_figures() -> None:
    assert rouge_words("It's 5 o'clock, Ümit!") == ["it", "s", "5", "o", "clock", "mit"]
    assert rouge_n("the cat sat", "the cat ran", 1) == pytest.approx(2 / 3)
    assert rouge_n("the cat sat", "the cat ran", 2) == pytest.approx(1 / 2)
    assert rouge_n("", "the", 1) == rouge_l("", "") == rouge_l_sum("", "a") == 0
    # Lin 2004, section 3.2: the union over w1 w2 w6 w7 w8 and w1 w3 w8 w9 w5 covers four of five words.
    assert rouge_l_sum("w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5", "w1 w2 w3 w4 w5") == pytest.approx(2 * 0.4 * 0.8 / 1.2)


@given(WORDS, WORDS)
def test_one_line_is_scored_alike(first: list[str], second: list[str]) -> None:
    assert rouge_l_sum(" ".join(first), " ".join(second)) == pytest.approx(rouge_l(" ".join(first), " ".join(second)))


def test_of_a_longer_text_the_first_words_are_compared() -> None:
    text = "a b\n" * MAX_WORDS
    assert rouge_l_sum(text, "a b") == pytest.approx(2 * 2 / (MAX_WORDS + 2))
    assert rouge_l_sum(f"c\n{text}", "a b c") == rouge_l_sum(f"c\n{text[: 2 * MAX_WORDS]}", "a b c") > 0
