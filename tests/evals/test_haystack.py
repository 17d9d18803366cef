"""Haystacks: whole sentences, one needle, at its depth and within their length."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.evals.haystack import DEPTHS, NEEDLE_ANIMALS, NEEDLE_COLOURS, NEEDLE_KEYS, Needle, draw_needles, haystacks
from tests.evals.test_needle import TEXTS, stacks, words


def test_haystacks_fill_their_length_and_hold_the_needle_once() -> None:
    for stack in stacks():
        assert stack.length * 0.6 < words(stack.text) <= stack.length
        assert stack.text.count(stack.needle.sentence) == 1
        before, after = stack.text.split(stack.needle.sentence)
        assert not before.strip() or before.strip()[-1] in ".!?"  # no sentence is split
        share = words(before) / max(1, words(before) + words(after))
        assert abs(share - stack.depth) < 0.2


@settings(max_examples=25)
@given(st.integers(64, 300), st.sampled_from(DEPTHS), st.lists(st.integers(1, 80), min_size=9, max_size=20))
def test_a_haystack_is_sentences_of_the_text_and_no_longer_than_asked_for(
    length: int, depth: float, sizes: list[int]
) -> None:
    sentences = [" ".join([f"S{n}", *["word"] * size]) + "." for n, size in enumerate(sizes)]
    texts = [" ".join(sentences)] * 40
    for stack in haystacks(texts, words, lengths=(length,), depths=(depth,), seeds=2):
        assert (stack.length, stack.depth) == (length, depth)
        assert words(stack.text) <= length
        before, after = stack.text.split(stack.needle.sentence)
        first, second = ([part for part in side.strip().split(". ") if part] for side in (before, after))
        assert all(f"{part.rstrip('.')}." in sentences for part in (*first, *second))
        assert len(first) == round(depth * (len(first) + len(second)))


def test_the_same_again_and_another_seed_length_or_depth_differs() -> None:
    assert stacks() == stacks()
    found = stacks((128, 256), seeds=6)
    assert len(found) == 2 * len(DEPTHS) * 6
    assert len({stack.text for stack in found}) == len(found)


def test_too_little_text_is_told() -> None:
    with pytest.raises(DataError, match="too few for a needle test at 4,096, even read 8 times; raise held_out_share"):
        list(haystacks(TEXTS[:3], words, lengths=(4096,)))


def test_text_shorter_than_a_haystack_is_read_again() -> None:
    few = TEXTS[:30]
    total = sum(words(f" {text}") for text in few)
    for length in (total + 1, 3 * total, 8 * total):
        for stack in haystacks(few, words, lengths=(length,), seeds=2):
            assert length / 2 < words(stack.text) <= length
            assert stack.text.count(stack.needle.sentence) == 1


def test_a_sentence_longer_than_the_room_is_left_out() -> None:
    long = " ".join(["endless"] * 500) + "."
    for stack in haystacks([long, *TEXTS], words, lengths=(128,), seeds=4):
        assert "endless" not in stack.text


def test_needles_of_one_haystack_have_different_words() -> None:
    drawn = draw_needles(random.Random(0), len(NEEDLE_KEYS))
    assert {one.key for one in drawn} == set(NEEDLE_KEYS)
    for one in drawn:
        colour, animal = one.value.split()
        assert colour in NEEDLE_COLOURS
        assert animal in NEEDLE_ANIMALS
        assert one.sentence == f"{one.stem} {one.value}."
        assert one.key in one.question
    with pytest.raises(ValueError, match="larger than population"):
        draw_needles(random.Random(0), len(NEEDLE_KEYS) + 1)
    assert Needle("oak", "red lion").sentence == "The code of oak is red lion."
    assert list(haystacks(TEXTS, words, lengths=())) == []
    with pytest.raises(DataError):
        list(haystacks([], words, lengths=(64,)))
