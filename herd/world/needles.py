"""Codes worth remembering, hidden in long text and asked for at its end.

There is one code at a time: to tell several apart by their keys is more than a model of a million weights learns.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from herd.evals.haystack import Needle, draw_needles

# How often a page tells its code before its end.
_TIMES = (1, 1, 1, 2)
_AT_START = 0.4


def hide(needle: Needle, sentences: Sequence[str], chance: random.Random, *, times: int = 1) -> list[str]:
    """`sentences` with the needle between two of them, at any place; often at the start, where it is hardest to find
    again because attention with nowhere to go rests there."""
    hidden = list(sentences)
    for _ in range(times):
        place = 0 if chance.random() < _AT_START else chance.randint(0, len(hidden))
        hidden.insert(place, needle.sentence)
    return hidden


def haystack(chance: random.Random, sentences: Sequence[str]) -> str:
    """Text that hides a needle, once or twice, and tells it again at its end, every second time after the question."""
    (needle,) = draw_needles(chance, 1)
    hidden = hide(needle, sentences, chance, times=chance.choice(_TIMES))
    question = [needle.question] if chance.random() < 0.5 else []
    return " ".join([*hidden, *question, needle.sentence])


def ledger(chance: random.Random, entries: int) -> str:
    """Nothing but codes, each told again and again until the next: dense practice in looking back."""
    needle: Needle | None = None
    sentences: list[str] = []
    for _ in range(entries):
        if needle is None or chance.random() < 0.3:
            (needle,) = draw_needles(chance, 1)
        elif chance.random() < 0.2:
            sentences.append(needle.question)
        sentences.append(needle.sentence)
    return " ".join(sentences)
