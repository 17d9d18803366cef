"""Codes hidden in text: all sentences stay, in order, and a ledger tells no code that was not told before."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.evals.haystack import draw_needles
from herd.world import needles

CODE = re.compile(r"The code of (\w+) is (\w+ \w+)\.")


@given(st.integers(0, 10_000), st.integers(0, 4), st.integers(0, 12))
def test_what_hides_a_needle_keeps_every_sentence_in_order(seed: int, count: int, length: int) -> None:
    chance = random.Random(seed)
    drawn, sentences = draw_needles(chance, count), [f"Sentence {n}." for n in range(length)]
    hidden = needles.hide(drawn, sentences, chance)
    codes = {needle.sentence for needle in drawn}
    assert [one for one in hidden if one not in codes] == sentences
    assert Counter(one for one in hidden if one in codes) == Counter(codes)
    assert sentences == [f"Sentence {n}." for n in range(length)]  # what was given is not changed


def test_needles_lie_anywhere_and_often_at_the_start() -> None:
    sentences = [f"Sentence {n}." for n in range(9)]
    places = Counter()
    for seed in range(1000):
        chance = random.Random(seed)
        drawn = draw_needles(chance, 1)
        places[needles.hide(drawn, sentences, chance).index(drawn[0].sentence)] += 1
    assert set(places) == set(range(10))
    # Fifteen in a hundred besides the tenth that chance puts there.
    assert places[0] / 1000 == pytest.approx(0.15 + 0.85 / 10, abs=0.04)


def test_a_haystack_ends_with_all_its_needles_each_once() -> None:
    for seed in range(20):
        text = needles.haystack(random.Random(seed), ["Grass is green."] * 30, 3)
        codes = CODE.findall(text)
        assert len(dict(codes)) == len(set(codes)) == 3
        assert sorted(codes[-3:]) == sorted(set(codes))
        assert text.count("Grass is green.") == 30
        assert len(codes) >= 6  # in the text and at its end


def test_a_ledger_repeats_codes_and_only_those_told_last() -> None:
    for seed in range(20):
        codes = CODE.findall(needles.ledger(random.Random(seed), 60))
        assert len(codes) == 60
        current: dict[str, str] = {}
        repeated = 0
        for key, value in codes:
            repeated += current.get(key) == value
            current[key] = value
        assert repeated > 25  # seven tenths tell again
    assert needles.ledger(random.Random(0), 0) == ""
