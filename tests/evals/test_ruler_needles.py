"""Haystacks and needles of RULER, by themselves; the tasks made of them are tested in `tasks/test_ruler.py`."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.evals.ruler_needles import (
    DistractorHaystack,
    KeyedNeedle,
    LineHaystack,
    NeedleHaystack,
    NeedlePrompts,
    NeedleWords,
    SentenceHaystack,
    VariablePrompts,
)
from herd.evals.sized import PromptDraw, TokenCounts
from tests.tokens.test_chat import TOKENIZER

WORDS = NeedleWords([f"first{n}" for n in range(100)], [f"last{n}" for n in range(100)])
SENTENCES = [f"Sentence {n} is here." for n in range(30)]


COUNTS = TokenCounts(TOKENIZER)


@cache
def haystack_of(name: str) -> NeedleHaystack:
    if name == "sentences":
        return SentenceHaystack(SENTENCES)
    return LineHaystack() if name == "line" else DistractorHaystack(WORDS, "words", "numbers", 4096, 3)


@pytest.mark.parametrize("name", ["sentences", "line", "distractors"])
@settings(max_examples=30)
@given(seed=st.integers(0, 1000), count=st.integers(5, 200))
def test_the_first_units_cost_what_is_counted_of_them(name: str, seed: int, count: int) -> None:
    haystack, counts = haystack_of(name), COUNTS
    units = haystack.units(random.Random(seed), count)
    assert len(units) == count
    budget = counts.total([haystack.separator + unit for unit in units])
    costs = haystack.costs(random.Random(seed), budget, counts)
    assert costs[:count].sum() == budget
    places = haystack.places(random.Random(seed), count, 4)
    assert len(places) == 4
    assert places == sorted(places)
    assert all(0 <= place <= count for place in places)


def test_a_pool_serves_longer_texts_and_keeps_what_shorter_ones_had() -> None:
    short, long = (DistractorHaystack(WORDS, "words", "numbers", length, 3) for length in (4096, 40_000))
    assert short.most_units == 1024
    assert long.most_units == 4096 > 40_000 // 16
    assert short.keys < long.keys
    assert len(set(long.units(random.Random(1), 4000))) == 4000


def test_words_too_few_for_the_length_are_said() -> None:
    with pytest.raises(DataError, match="the words make 10,000 keys, too few for 131,072 tokens"):
        DistractorHaystack(WORDS, "words", "numbers", 131_072, 3)
    assert DistractorHaystack(WORDS, "uuids", "uuids", 131_072, 3).most_units == 8192


def test_what_is_asked_for_is_no_key_of_the_haystack() -> None:
    few = NeedleWords([f"a{n}" for n in range(46)], [f"b{n}" for n in range(46)])  # 2,116 keys, 1,024 of them taken
    haystack = DistractorHaystack(few, "words", "numbers", 4096, 3)
    prompts = NeedlePrompts(haystack, few, keys="words", values="numbers")
    for number in range(20):
        prompt = prompts.render(PromptDraw("x", 1, 4096, number), 50)
        (answer,) = prompt.answers
        key = prompt.response_prefix.split(" for ")[1].split(" mentioned")[0]
        assert key not in haystack.keys
        assert prompt.text.count(f"for {key} is: {answer}.") == 1


def test_a_needle_reads_as_the_official_one() -> None:
    needle = KeyedNeedle("uuids", "large-tree", "1-2")
    assert needle.sentence == "One of the special magic uuids for large-tree is: 1-2."


def test_a_chain_takes_what_is_counted_of_it() -> None:
    prompts, counts = VariablePrompts(seed=1), TokenCounts(TOKENIZER)
    sums = []
    for number in range(4):
        draw = PromptDraw("x", 1, 4096, number)
        units, tokens = prompts.fit(draw, 7000, counts)
        assert tokens <= 7000
        sums.append(len(TOKENIZER.encode(prompts.render(draw, units).text)) - tokens)
    assert max(sums) - min(sums) <= 5  # the value, which is asked for again after the answer begins
