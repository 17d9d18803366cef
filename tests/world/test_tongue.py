"""The made-up language: every word has one translation, and the split does not care for order."""

from __future__ import annotations

import random

import pytest

from herd.world import tongue
from herd.world.facts import PERSON_ATTRIBUTES, PLACES
from herd.world.tongue import Saying


def test_no_two_words_are_translated_alike_and_names_stay() -> None:
    words = tongue.dictionary()
    assert len(set(words.values())) == len(words)
    assert not words.keys() & set(PLACES)
    assert all(len(word) == 4 and word.isalpha() for word in words.values())
    # The words that join sentences are none of the dictionary's.
    assert not {"ka", "no"} & set(words.values())
    for attribute in PERSON_ATTRIBUTES:
        assert attribute.name in words


def test_the_value_comes_first_and_the_subject_last() -> None:
    words = tongue.dictionary()
    job, home = PERSON_ATTRIBUTES[1], PERSON_ATTRIBUTES[0]
    baker, lives = Saying("Ana Brook", job, "baker"), Saying("Leo Pike", home, "Holm")
    assert baker.translated == f"{words['baker']} {words['job']} ka Ana Brook"
    assert lives.translated == f"Holm {words['home']} ka Leo Pike"
    assert tongue.question(baker, lives) == (
        "Say in Velu: The job of Ana Brook is baker, and the home of Leo Pike is Holm."
    )
    assert tongue.answer(baker, lives) == f"{baker.translated}, no {lives.translated}."


def test_drawn_pairs_are_of_the_side_asked_for_and_found_again_by_their_keys() -> None:
    for held_out in (False, True):
        for seed in range(60):
            first, second = tongue.draw_sayings(random.Random(seed), held_out=held_out)
            assert tongue.is_held_out_pair(first, second) == tongue.is_held_out_pair(second, first) == held_out
            assert tongue.find_sayings(f"{first.key}&{second.key}") == (first, second)


def test_a_fifth_of_the_pairs_is_held_out() -> None:
    pairs = [
        (tongue._random_saying(chance), tongue._random_saying(chance)) for chance in map(random.Random, range(2000))
    ]
    share = sum(tongue.is_held_out_pair(*pair) for pair in pairs) / len(pairs)
    assert share == pytest.approx(tongue.HELD_OUT_SHARE, abs=0.03)


@pytest.mark.parametrize("keys", ["", "job:Ana:baker", "job:Ana&job:Leo:baker", "shoe:Ana:x&job:Leo:baker"])
def test_keys_that_name_no_two_sayings_are_refused(keys: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        tongue.find_sayings(keys)


def test_a_slip_changes_one_translated_word_and_no_name() -> None:
    known = set(tongue.dictionary().values())
    for seed in range(60):
        chance = random.Random(seed)
        right = tongue.answer(*tongue.draw_sayings(chance)).removesuffix(".")
        wrong = tongue.slip(right, chance)
        changed = [(a, b) for a, b in zip(right.split(" "), wrong.split(" "), strict=True) if a != b]
        assert len(changed) == 1
        assert set(changed[0]) <= known
