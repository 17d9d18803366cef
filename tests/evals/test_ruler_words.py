"""RULER's lists of words, by themselves; the tasks made of them are tested in `tasks/test_ruler.py`."""

from __future__ import annotations

from collections import Counter

import pytest

from herd.core.errors import DataError
from herd.evals.ruler_words import CommonWordsPrompts, FrequentWordsPrompts
from herd.evals.sized import PromptDraw, TokenCounts
from tests.tokens.test_chat import TOKENIZER

WORDS = [f"{a}{b}ing" for a in "bcdfghklmn" for b in "aeiou"] + [f"{a}{b}er" for a in "prstvz" for b in "aeiou"]


@pytest.mark.parametrize("length", [2000, 5000])
def test_a_list_costs_what_is_counted_of_it(length: int) -> None:
    prompts, counts = CommonWordsPrompts(WORDS, length=length, seed=1), TokenCounts(TOKENIZER)
    fixed = set()
    for number in range(5):
        draw = PromptDraw("x", 1, length, number)
        units, tokens = prompts.fit(draw, 4 * length, counts)
        assert tokens <= 4 * length
        fixed.add(len(TOKENIZER.encode(prompts.render(draw, units).text)) - tokens)
    assert len(fixed) == 1


def test_words_that_run_out_are_repeated_less_often_than_common_ones() -> None:
    prompts = CommonWordsPrompts(WORDS, length=5000, seed=1)
    text = prompts.render(PromptDraw("x", 1, 5000, 0), prompts.most_units)
    listed = text.text.rpartition("Below is")[2].split("\n")[1].split(" ")[1::2]
    counts = Counter(listed)
    assert {counts[word] for word in text.answers} == {30}
    assert max(count for word, count in counts.items() if word not in text.answers) <= 15
    with pytest.raises(DataError, match="too few to list"):
        CommonWordsPrompts(WORDS[:20], length=5000, seed=1)


def test_frequencies_fall_as_zipfs_law_says() -> None:
    prompts = FrequentWordsPrompts(length=20_000, seed=1)
    prompt = prompts.render(PromptDraw("x", 1, 20_000, 0), 3000)
    words = prompt.text.split("coded words. ")[1].split("\nQuestion")[0].split(" ")
    ranked = [count for _, count in Counter(words).most_common(6)]
    assert ranked == [int(3000 / rank**2 / 1.6449340668) for rank in range(1, 7)]
    assert len(set(words)) > 20


def test_a_coded_text_costs_what_is_counted_of_it() -> None:
    prompts, counts = FrequentWordsPrompts(length=4000, seed=1), TokenCounts(TOKENIZER)
    fixed = set()
    for number in range(5):
        draw = PromptDraw("x", 1, 4000, number)
        units, tokens = prompts.fit(draw, 3000, counts)
        assert 2900 < tokens <= 3000
        fixed.add(len(TOKENIZER.encode(prompts.render(draw, units).text)) - tokens)
    assert len(fixed) == 1
