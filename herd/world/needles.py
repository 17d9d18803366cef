"""Codes worth remembering, hidden in long text and asked for at its end."""

from __future__ import annotations

import random
from dataclasses import dataclass

KEYS = (
    "alpha beta gamma delta kappa sigma omega theta zeta lambda pine oak elm fir ash moon star lake hill "
    "wolf bear hawk crow iron gold zinc salt jade ruby opal rose fern"
).split()


@dataclass(frozen=True)
class Needle:
    """A code: a word and the four digits that belong to it.

    The digits stand right after the word. A model of a million weights learns to look back one token in a
    minute, and did not learn to look back three in ten.
    """

    key: str
    value: str

    @property
    def code(self) -> str:
        return f"{self.key}{self.value}"

    @property
    def stem(self) -> str:
        return f"The code is {self.key}"

    @property
    def sentence(self) -> str:
        return f"The code is {self.code}."

    @property
    def question(self) -> str:
        return f"Which code begins with {self.key}?"


def draw(chance: random.Random, count: int) -> list[Needle]:
    """`count` needles with different words."""
    return [Needle(key, str(chance.randint(1000, 9999))) for key in chance.sample(KEYS, count)]


def hide(needles: list[Needle], sentences: list[str], chance: random.Random) -> list[str]:
    """`sentences` with every needle between two of them, at a place drawn evenly."""
    hidden = list(sentences)
    for needle in needles:
        hidden.insert(chance.randint(0, len(hidden)), needle.sentence)
    return hidden


def haystack(chance: random.Random, sentences: list[str], count: int) -> str:
    """Text that hides `count` needles and tells all of them again at its end, in another order."""
    needles = draw(chance, count)
    again = chance.sample(needles, count)
    return " ".join([*hide(needles, sentences, chance), *(needle.sentence for needle in again)])


def ledger(chance: random.Random, entries: int, at_once: int = 6) -> str:
    """Nothing but codes, told again and again: dense practice in looking back."""
    told: list[Needle] = []
    codes = []
    for _ in range(entries):
        if len(told) > 1 and chance.random() < 0.7:
            codes.append(chance.choice(told).code)
            continue
        new = draw(chance, 1)[0]
        told = [old for old in told if old.key != new.key][1 - at_once :] + [new]
        codes.append(new.code)
    return ", ".join(codes) + "."
