"""Codes hidden in text: all sentences stay, in order, and there is one code at a time."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.evals.haystack import draw_needles
from herd.world import needles

CODE = re.compile(r"The code of (\w+) is (\w+ \w+)\.")


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(0, 12))
def test_what_hides_a_needle_keeps_every_sentence_in_order(seed: int, times: int, length: int) -> None:
    chance = random.Random(seed)
    (needle,), sentences = draw_needles(chance, 1), [f"Sentence {n}." for n in range(length)]
    hidden = needles.hide(needle, sentences, chance, times=times)
    assert [sentence for sentence in hidden if sentence != needle.sentence] == sentences
    assert hidden.count(needle.sentence) == times
    assert sentences == [f"Sentence {n}." for n in range(length)]  # what it was given is not changed


def test_needles_lie_anywhere_and_often_at_the_start() -> None:
    sentences = [f"Sentence {n}." for n in range(9)]
    places = Counter()
    for seed in range(1000):
        chance = random.Random(seed)
        (needle,) = draw_needles(chance, 1)
        places[needles.hide(needle, sentences, chance).index(needle.sentence)] += 1
    assert set(places) == set(range(10))
    # Besides the tenth of the others that chance puts there.
    assert places[0] / 1000 == pytest.approx(0.4 + 0.6 / 10, abs=0.04)


def test_a_haystack_hides_one_code_once_or_twice_and_ends_with_it() -> None:
    hidden, asked = Counter(), 0
    for seed in range(200):
        text = needles.haystack(random.Random(seed), ["Grass is green."] * 30)
        codes = CODE.findall(text)
        assert len(set(codes)) == 1
        assert text.endswith("The code of {} is {}.".format(*codes[0]))
        assert text.count("Grass is green.") == 30
        hidden[len(codes) - 1] += 1
        asked += f"What is the code of {codes[0][0]}?" in text
    assert set(hidden) == {1, 2}
    assert hidden[2] / 200 == pytest.approx(0.25, abs=0.1)
    assert asked / 200 == pytest.approx(0.5, abs=0.1)


def test_a_ledger_tells_one_code_until_the_next() -> None:
    told_again = 0
    for seed in range(20):
        text = needles.ledger(random.Random(seed), 60)
        codes = CODE.findall(text)
        assert len(codes) == 60
        told_again += sum(code == before for before, code in itertools.pairwise(codes))
        # What is asked is the code of the moment, told right after.
        for key, answered, value in re.findall(r"What is the code of (\w+)\? The code of (\w+) is (\w+ \w+)\.", text):
            assert key == answered
            assert codes.count((key, value)) > 1
    assert told_again / (20 * 59) == pytest.approx(0.7, abs=0.06)
    assert needles.ledger(random.Random(0), 0) == ""
