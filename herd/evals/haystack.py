"""Long text with a sentence hidden in it: what the needle test asks about.

Source: Kamradt 2023 (LLMTest_NeedleInAHaystack); Llama 3, 3.4.2.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from herd.core.errors import DataError
from herd.core.seeds import rng

NEEDLE_KEYS = (
    "alpha beta gamma delta kappa sigma omega theta zeta lambda pine oak elm fir ash moon star lake hill "
    "wolf bear hawk crow iron gold zinc salt jade ruby opal rose fern"
).split()
NEEDLE_COLOURS = "black blue brown green grey orange pink purple red white".split()
NEEDLE_ANIMALS = "camel eagle lion moose otter panda raven salmon tiger zebra".split()

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Room for the chat format's headers, so that one haystack fits a base model and a chat model alike.
_FORMAT_TOKENS = 24
_MOST_READINGS = 8  # of the same text in a haystack
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


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


def draw_needles(chance: random.Random, count: int) -> list[Needle]:
    """`count` needles with different words."""
    return [Needle(key, _code(chance)) for key in chance.sample(NEEDLE_KEYS, count)]


def _code(chance: random.Random) -> str:
    return f"{chance.choice(NEEDLE_COLOURS)} {chance.choice(NEEDLE_ANIMALS)}"


@dataclass(frozen=True)
class Haystack:
    """Text of about `length` tokens with a needle at `depth` (0: at its start, 1: at its end)."""

    length: int
    depth: float
    text: str
    needle: Needle


def haystacks(
    texts: Sequence[str],
    count_tokens: Callable[[str], int],
    *,
    lengths: Sequence[int],
    depths: Sequence[float] = DEPTHS,
    seeds: int = 8,
) -> Iterator[Haystack]:
    """Haystacks of whole sentences from `texts`; a needle never splits one. Text shorter than a haystack is read again,
    as Kamradt's essays are, eight times at most.

    Raises DataError when there is too little text even so.
    """
    parts = chain.from_iterable(map(_SENTENCE.split, texts))
    sentences = [sentence for part in parts if (sentence := part.strip())]
    sizes = [count_tokens(f" {sentence}") for sentence in sentences]
    longest = max(lengths, default=0)
    if sum(sizes) * _MOST_READINGS < longest:
        raise DataError(
            f"{sum(sizes):,} tokens of held-out text are too few for a needle test at {longest:,}, even read "
            f"{_MOST_READINGS} times; raise held_out_share, add text to the needle's sources, or ask at shorter lengths"
        )
    for length in lengths:
        for depth in depths:
            for seed in range(seeds):
                chance = rng(seed, "haystack", length, depth)
                needle = draw_needles(chance, 1)[0]
                room = length - _FORMAT_TOKENS - 2 * count_tokens(f" {needle.sentence}")
                readings = -(-length // sum(sizes))
                chosen = _fitting(sentences, sizes, chance.randrange(len(sentences)), room, readings)
                chosen.insert(round(depth * len(chosen)), needle.sentence)
                yield Haystack(length, depth, " ".join(chosen), needle)


def _fitting(sentences: Sequence[str], sizes: Sequence[int], start: int, room: int, readings: int) -> list[str]:
    """Sentences from number `start` on, round the end, that fit into `room` tokens; too long ones are left out.
    readings: how often each may be taken."""
    chosen: list[str] = []
    for step in range(readings * len(sentences)):
        number = (start + step) % len(sentences)
        if sizes[number] <= room:
            chosen.append(sentences[number])
            room -= sizes[number]
        if room < 8:
            break
    return chosen
