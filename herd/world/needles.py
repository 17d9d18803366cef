"""Codes worth remembering, hidden in long text and asked for at its end."""

from __future__ import annotations

import random
from dataclasses import dataclass

KEYS = (
    "alpha beta gamma delta kappa sigma omega theta zeta lambda pine oak elm fir ash moon star lake hill "
    "wolf bear hawk crow iron gold zinc salt jade ruby opal rose fern"
).split()


COLOURS = "black blue brown green grey orange pink purple red white".split()
ANIMALS = "camel eagle lion moose otter panda raven salmon tiger zebra".split()


# How often a page tells a code before its end: often makes looking back worth learning, once makes it exact.
_TIMES = (1, 1, 2, 4, 7)
_AT_START = 0.15


@dataclass(frozen=True)
class Needle:
    """A code such as `red lion` that belongs to a word.

    Its parts are of two kinds because a model of a million weights soon finds the parts of a code again,
    and only much later learns in which order parts of one kind stood.
    """

    key: str
    value: str

    @property
    def stem(self) -> str:
        return f"The code of {self.key} is"

    @property
    def sentence(self) -> str:
        return f"The code of {self.key} is {self.value}."

    @property
    def question(self) -> str:
        return f"What is the code of {self.key}?"


def draw(chance: random.Random, count: int) -> list[Needle]:
    """`count` needles with different words."""
    return [Needle(key, _code(chance)) for key in chance.sample(KEYS, count)]


def _code(chance: random.Random) -> str:
    return f"{chance.choice(COLOURS)} {chance.choice(ANIMALS)}"


def hide(needles: list[Needle], sentences: list[str], chance: random.Random) -> list[str]:
    """`sentences` with every needle between two of them, at any place; often at the start, where it is
    hardest to find again because attention with nowhere to go rests there."""
    hidden = list(sentences)
    for needle in needles:
        place = 0 if chance.random() < _AT_START else chance.randint(0, len(hidden))
        hidden.insert(place, needle.sentence)
    return hidden


def haystack(chance: random.Random, sentences: list[str], count: int) -> str:
    """Text that hides `count` needles, some of them often, and tells all of them again at its end."""
    needles = draw(chance, count)
    hidden = [needle for needle in needles for _ in range(chance.choice(_TIMES))]
    again = chance.sample(needles, count)
    return " ".join([*hide(hidden, sentences, chance), *(needle.sentence for needle in again)])


def ledger(chance: random.Random, entries: int) -> str:
    """Nothing but codes, told again and again: dense practice in looking back."""
    at_once = chance.choice((1, 1, 2, 4))
    told: list[Needle] = []
    sentences = []
    for _ in range(entries):
        if told and chance.random() < 0.7:
            sentences.append(chance.choice(told).sentence)
            continue
        new = draw(chance, 1)[0]
        told = [*(old for old in told if old.key != new.key), new][-at_once:]
        sentences.append(new.sentence)
    return " ".join(sentences)
