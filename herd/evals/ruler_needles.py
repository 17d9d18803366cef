"""Needles of RULER: sentences that give a key its value, hidden in text, in a repeated line or among others of their
kind; and chains of variables.

Source: Hsieh et al. 2024 (RULER), 3.1 and 3.2; its code `scripts/data/synthetic/niah.py` and `variable_tracking.py` for
the words of the prompts.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal, Protocol

import numpy as np

from herd.core.errors import DataError
from herd.core.seeds import rng
from herd.evals.sized import PromptDraw, SizedPrompt, TokenCounts, most_that_fit

NeedleKind = Literal["words", "numbers", "uuids"]
NOISE = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again."
_DEPTHS = tuple(int(depth) for depth in np.round(np.linspace(0, 100, num=40)))
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_POOL = 1024  # at least so many needles, a power of two, has a haystack of needles; each is counted once
_SHOTS = 64  # examples shown before chains of variables, each counted once


@dataclass(frozen=True)
class KeyedNeedle:
    """A value that belongs to a key."""

    kind: NeedleKind
    key: str
    value: str

    @property
    def sentence(self) -> str:
        return f"One of the special magic {self.kind} for {self.key} is: {self.value}."


@dataclass(frozen=True)
class NeedleWords:
    """What needles are made of: keys of two words, as `large-tree`."""

    first: Sequence[str]
    second: Sequence[str]

    def draw(self, chance: random.Random, kind: NeedleKind) -> str:
        if kind == "words":
            return f"{chance.choice(self.first)}-{chance.choice(self.second)}"
        if kind == "numbers":
            return str(chance.randrange(10**6, 10**7))
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))

    @property
    def num_keys(self) -> int:
        """How many keys of two words there are."""
        return len(set(self.first)) * len(set(self.second))

    def draw_keys(self, chance: random.Random, kind: NeedleKind, count: int) -> list[str]:
        """Different ones."""
        keys: dict[str, None] = {}
        while len(keys) < count:
            keys[self.draw(chance, kind)] = None
        return list(keys)


class NeedleHaystack(Protocol):
    """Text that needles are put into, in units. separator: what stands between two units. most_units: that it has.
    keys: of needles that it has itself."""

    separator: str
    most_units: int
    keys: frozenset[str]

    def costs(self, chance: random.Random, budget: int, counts: TokenCounts) -> np.ndarray:
        """The tokens of each of its first units, of more than fit `budget` where it has as many. [units]"""
        ...

    def units(self, chance: random.Random, count: int) -> list[str]:
        """The first `count` units."""
        ...

    def places(self, chance: random.Random, count: int, needles: int) -> list[int]:
        """Before which units so many needles go, in order."""
        ...


class SentenceHaystack:
    """The sentences of texts in order, from the first on, and again where they are too few. Needles go to different
    ones of 40 depths.

    Differs: RULER cuts the text after a word; here no sentence is split, and a text too short is read again."""

    separator = " "
    most_units = 1 << 31
    keys: frozenset[str] = frozenset()

    def __init__(self, sentences: Sequence[str]) -> None:
        self._sentences = list(sentences)
        self._costs: np.ndarray | None = None

    def costs(self, chance: random.Random, budget: int, counts: TokenCounts) -> np.ndarray:
        if self._costs is None:
            self._costs = counts.of([f" {sentence}" for sentence in self._sentences])
        return np.tile(self._costs, max(0, budget) // int(self._costs.sum()) + 1)

    def units(self, chance: random.Random, count: int) -> list[str]:
        return (self._sentences * -(-count // len(self._sentences)))[:count]

    def places(self, chance: random.Random, count: int, needles: int) -> list[int]:
        return sorted(int(count * depth / 100) for depth in chance.sample(_DEPTHS, needles))


class LineHaystack:
    """One line again and again."""

    separator = "\n"
    most_units = 1 << 31
    keys: frozenset[str] = frozenset()

    def __init__(self, line: str = NOISE) -> None:
        self._line = line

    def costs(self, chance: random.Random, budget: int, counts: TokenCounts) -> np.ndarray:
        cost = counts.total([f"\n{self._line}"])
        return np.full(max(0, budget) // cost + 1, cost)

    def units(self, chance: random.Random, count: int) -> list[str]:
        return [self._line] * count

    def places(self, chance: random.Random, count: int, needles: int) -> list[int]:
        return sorted(chance.sample(range(count), needles))


class DistractorHaystack:
    """Needles of other keys. They are drawn from a pool that every prompt goes through in an order of its own, so that
    each is counted once.

    length: in tokens, for which the pool is large enough. seed: of the pool, which all prompts share.
    Differs: RULER draws every distractor anew."""

    separator = "\n"

    def __init__(self, words: NeedleWords, keys: NeedleKind, values: NeedleKind, length: int, seed: int) -> None:
        chance = rng(seed, "distractors", keys, values)
        size = _POOL
        while size < length // 16:  # a needle takes more tokens in any tokenizer
            size *= 2
        if keys == "words" and 2 * size > words.num_keys:
            raise DataError(
                f"the words make {words.num_keys:,} keys, too few for {length:,} tokens of needles; name a file of more"
            )
        pool: dict[str, str] = {}  # value by key
        while len(pool) < size:
            pool.setdefault(words.draw(chance, keys), words.draw(chance, values))
        self._sentences = [KeyedNeedle(values, key, value).sentence for key, value in pool.items()]
        self._costs: np.ndarray | None = None
        self.keys, self.most_units = frozenset(pool), size

    def _order(self, chance: random.Random, count: int) -> np.ndarray:
        size = len(self._sentences)
        # An odd step meets all of a power of two.
        start, step = chance.randrange(size), 2 * chance.randrange(size // 2) + 1
        return (start + step * np.arange(min(count, size))) % size

    def costs(self, chance: random.Random, budget: int, counts: TokenCounts) -> np.ndarray:
        if self._costs is None:
            self._costs = counts.of([f"\n{sentence}" for sentence in self._sentences])
        return self._costs[self._order(chance, max(0, budget) // int(self._costs.min()) + 1)]

    def units(self, chance: random.Random, count: int) -> list[str]:
        return [self._sentences[number] for number in self._order(chance, count)]

    def places(self, chance: random.Random, count: int, needles: int) -> list[int]:
        return sorted(chance.sample(range(count), needles))


class NeedlePrompts:
    """Prompts that ask for the values of keys. num_keys, num_values, num_queries: how many keys are hidden besides what
    the haystack has, values each, and how many keys are asked for.

    Source: Hsieh et al. 2024 (RULER), 3.1: single, multi-key, multi-value and multi-query needles.
    """

    def __init__(
        self, haystack: NeedleHaystack, words: NeedleWords, *, keys: NeedleKind, values: NeedleKind,
        num_keys: int = 1, num_values: int = 1, num_queries: int = 1,
    ) -> None:  # fmt: skip
        self._haystack, self._words = haystack, words
        self._keys: NeedleKind = keys
        self._values: NeedleKind = values
        self._num_keys, self._num_values, self._num_queries = max(num_keys, num_queries), num_values, num_queries
        self.least_units, self.most_units = self._num_keys * num_values, haystack.most_units

    def _draw(self, chance: random.Random) -> tuple[list[KeyedNeedle], list[str], tuple[str, ...]]:
        """The needles in the order in which they are hidden, the keys asked for, and all their values."""
        keys = [
            key for key in self._words.draw_keys(chance, self._keys, self._num_keys) if key not in self._haystack.keys
        ]
        if len(keys) < self._num_keys:
            return self._draw(chance)
        needles = []
        for key in keys:
            values = dict.fromkeys(self._words.draw(chance, self._values) for _ in range(self._num_values))
            needles += [KeyedNeedle(self._values, key, value) for value in values]
        queries = chance.sample(keys, self._num_queries)
        by_key: dict[str, list[str]] = {}
        for needle in needles:
            by_key.setdefault(needle.key, []).append(needle.value)
        answers = tuple(chain.from_iterable(by_key[query] for query in queries))
        chance.shuffle(needles)
        return needles, queries, answers

    def fit(self, draw: PromptDraw, budget: int, counts: TokenCounts) -> tuple[int, int]:
        chance = draw.chance()
        needles, queries, _ = self._draw(chance)
        separator = self._haystack.separator
        tokens = counts.total([f"{separator}{needle.sentence}" for needle in needles])
        tokens += 2 * counts.total([f" {query}" for query in queries], before="r")  # asked for, and in the answer
        costs = self._haystack.costs(chance, budget, counts)
        units = max(self.least_units, min(most_that_fit(costs, budget - tokens), self.most_units))
        return units, tokens + int(costs[:units].sum())

    def render(self, draw: PromptDraw, units: int) -> SizedPrompt:
        chance = draw.chance()
        needles, queries, answers = self._draw(chance)
        lines = self._haystack.units(chance, units)
        places = self._haystack.places(chance, units, len(needles))
        for place, needle in sorted(zip(places, needles, strict=True), key=_first, reverse=True):
            lines.insert(place, needle.sentence)
        return self._ask(self._haystack.separator.join(lines), queries, answers)

    def _ask(self, context: str, queries: Sequence[str], answers: tuple[str, ...]) -> SizedPrompt:
        query = " and ".join(queries) if len(queries) < 2 else f"{', '.join(queries[:-1])}, and {queries[-1]}"
        if len(answers) == 1:
            kind = self._values[:-1]
            opening = f"A special magic {kind} is hidden within the following text. Make sure to memorize it."
            question = f"What is the special magic {kind} for {query} mentioned in the provided text?"
            prefix = f"The special magic {kind} for {query} mentioned in the provided text is"
        else:
            kind = self._values
            opening = f"Some special magic {kind} are hidden within the following text. Make sure to memorize it."
            question = f"What are all the special magic {kind} for {query} mentioned in the provided text?"
            prefix = f"The special magic {kind} for {query} mentioned in the provided text are"
        text = f"{opening} I will quiz you about the {kind} afterwards.\n{context}\n{question}"
        return SizedPrompt(text, answers, prefix)


def _first(pair: tuple[int, KeyedNeedle]) -> int:
    return pair[0]


class VariablePrompts:
    """Prompts that ask for all variables of a chain of assignments, hidden in a repeated line; one example is shown
    before, of a short text and variables of three letters.

    Source: Hsieh et al. 2024 (RULER), 3.2; one chain of four hops.
    """

    hops = 4
    most_units = 1 << 31

    def __init__(self, seed: int) -> None:
        self.least_units = self.hops + 2
        self._shots = [self._shot(rng(seed, "chain of variables", number)) for number in range(_SHOTS)]

    def _chain(self, chance: random.Random, letters: int) -> tuple[list[str], str]:
        names: dict[str, None] = {}
        while len(names) <= self.hops:
            names["".join(chance.choices(_LETTERS, k=letters))] = None
        return list(names), str(chance.randrange(10_000, 99_999))

    def _context(self, chance: random.Random, names: Sequence[str], value: str, units: int) -> str:
        lines = [f"{NOISE}\n"] * units
        for offset, (place, line) in enumerate(
            zip(sorted(chance.sample(range(units), len(names))), _assignments(names, value), strict=True)
        ):
            lines.insert(place + offset, line)
        return " ".join(lines)

    def _ask(self, context: str, value: str) -> tuple[str, str]:
        count = self.hops + 1
        return (
            "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\n"
            f"{context}\nQuestion: Find all variables that are assigned the value {value} in the text above.",
            "Answer: According to the chain(s) of variable assignment in the text above, "
            f"{count} variables are assgined the value {value}, they are:",  # as RULER spells it
        )

    def _shot(self, chance: random.Random) -> str:
        names, value = self._chain(chance, 3)
        question, prefix = self._ask(self._context(chance, names, value, 10), value)
        return f"{question} {prefix} {' '.join(names)}\n\n\n\n"

    def fit(self, draw: PromptDraw, budget: int, counts: TokenCounts) -> tuple[int, int]:
        chance = draw.chance()
        shot = chance.choice(self._shots)
        names, value = self._chain(chance, 5)
        tokens = counts.total([shot], before="\n")
        tokens += counts.total([f" {line}" for line in _assignments(names, value)], before="\n")
        tokens += 2 * counts.total([f" {value}"], before="e")  # asked for, and in the answer
        cost = counts.total([f" {NOISE}\n"], before="\n")
        units = max(self.least_units, (budget - tokens) // cost)
        return units, tokens + units * cost

    def render(self, draw: PromptDraw, units: int) -> SizedPrompt:
        chance = draw.chance()
        shot = chance.choice(self._shots)
        names, value = self._chain(chance, 5)
        question, prefix = self._ask(self._context(chance, names, value, units), value)
        return SizedPrompt(shot + question, tuple(names), prefix)


def _assignments(names: Sequence[str], value: str) -> list[str]:
    return [f"VAR {names[0]} = {value}", *(f"VAR {name} = VAR {before} " for before, name in pairwise(names))]
