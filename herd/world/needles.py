"""Codes worth remembering, hidden in long text and asked for at its end."""

from __future__ import annotations

import random

from herd.evals.haystack import Needle, draw_needles

# How often a page tells a code before its end: often makes looking back worth learning, once makes it exact.
_TIMES = (1, 1, 2, 4, 7)
_AT_START = 0.15


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
    needles = draw_needles(chance, count)
    hidden: list[Needle] = []
    for needle in needles:
        hidden += [needle] * chance.choice(_TIMES)
    again = chance.sample(needles, count)
    return " ".join([*hide(hidden, sentences, chance), *(needle.sentence for needle in again)])


def ledger(chance: random.Random, entries: int) -> str:
    """Nothing but codes, told again and again: dense practice in looking back."""
    at_once = chance.choice((1, 1, 2, 4))
    recent: list[Needle] = []
    sentences = []
    for _ in range(entries):
        if recent and chance.random() < 0.7:
            sentences.append(chance.choice(recent).sentence)
            continue
        new = draw_needles(chance, 1)[0]
        recent = [*(old for old in recent if old.key != new.key), new][-at_once:]
        sentences.append(new.sentence)
    return " ".join(sentences)
