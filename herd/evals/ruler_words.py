"""RULER's lists of words: which stand most often in a numbered list, and in a coded text.

Source: Hsieh et al. 2024 (RULER), 3.3 (aggregation); its code `common_words_extraction.py` and
`freq_words_extraction.py` for the words of the prompts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import zeta

from herd.core.errors import DataError
from herd.core.seeds import rng
from herd.evals.sized import PromptDraw, SizedPrompt, TokenCounts

_COMMON = 10
_SHOTS = 64  # examples shown before numbered lists, each counted once
_CODED_WORDS = 20_000  # of which the words of coded texts are drawn, each counted once
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SHORT = 4096  # tokens; below, words are repeated less often


class CommonWordsPrompts:
    """Prompts that ask for the ten words that stand most often in a numbered list; one short list with its answer is
    shown before.

    words: all that there are. length: in tokens; it decides how often words are repeated. A unit is one more uncommon
    word. Where words run out, uncommon ones are repeated once more, and less often than common ones.
    Source: Hsieh et al. 2024 (RULER), 3.3: common words 30 times, uncommon ones 3 times.
    """

    def __init__(self, words: Sequence[str], *, length: int, seed: int) -> None:
        self._words = list(words)
        if len(self._words) < 50:
            raise DataError(f"{len(self._words)} words are too few to list; name a file of at least 50")
        self._common, self._uncommon = (30, 3) if length >= _SHORT else (6, 1)
        self._costs: tuple[np.ndarray, np.ndarray] | None = None
        self.least_units = 1
        self.most_units = (len(self._words) - _COMMON) * (self._common // (2 * self._uncommon))
        sample, common, uncommon = (40, 10, 3) if length >= _SHORT else (20, 3, 1)
        self._shots = []
        for number in range(_SHOTS):
            chance = rng(seed, "common words", number)
            words = chance.sample(self._words, sample)
            context = _numbered(_shuffled(chance, words[:_COMMON] * common + words[_COMMON:] * uncommon))
            answer = " ".join(f"{place}. {word}" for place, word in enumerate(words[:_COMMON], 1))
            self._shots.append(f"{_ask_common(context)} {_COMMON_PREFIX}{answer}\n")

    def _draw(self, chance: random.Random) -> tuple[str, np.ndarray, np.random.Generator]:
        """The example shown, the numbers of all words in a random order, and what decides the order of the list."""
        shot = chance.choice(self._shots)
        order = np.random.default_rng(chance.getrandbits(64))
        return shot, order.permutation(len(self._words)), order

    def _uncommon_words(self, order: np.ndarray, units: int) -> np.ndarray:
        """The numbers of the uncommon words of so many units; again from the first where they run out. [units]"""
        return np.resize(order[_COMMON:], units)

    def fit(self, draw: PromptDraw, budget: int, counts: TokenCounts) -> tuple[int, int]:
        shot, order, _ = self._draw(draw.chance())
        limit = min(self.most_units, max(self.least_units, budget // (2 * self._uncommon) + 1))
        words, numbers = self._count(counts, self._listed(limit))
        tokens = counts.total([shot], before="\n") + self._common * int(words[order[:_COMMON]].sum())
        uncommon = self._uncommon * words[self._uncommon_words(order, limit)]
        totals = tokens + np.cumsum(uncommon) + numbers[self._listed(np.arange(1, limit + 1)) - 1]
        units = max(self.least_units, int(np.searchsorted(totals, budget, side="right")))
        return units, int(totals[units - 1])

    def _listed(self, units: Any) -> Any:
        """How many words stand in a list of so many units."""
        return self._common * _COMMON + self._uncommon * units

    def _count(self, counts: TokenCounts, listed: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of every word, and of the first numbers of a list together, `listed` of them or more."""
        if self._costs is None or len(self._costs[1]) < listed:
            numbers = counts.of([f" {number}." for number in range(1, listed + 1)], before="e")
            self._costs = counts.of([f" {word}" for word in self._words]), np.cumsum(numbers)
        return self._costs

    def render(self, draw: PromptDraw, units: int) -> SizedPrompt:
        chance = draw.chance()
        shot, order, shuffle = self._draw(chance)
        common, uncommon = order[:_COMMON], self._uncommon_words(order, units)
        numbers = np.concatenate([np.repeat(common, self._common), np.repeat(uncommon, self._uncommon)])
        context = _numbered([self._words[number] for number in shuffle.permutation(numbers).tolist()])
        answers = tuple(self._words[number] for number in common)
        return SizedPrompt(shot + _ask_common(context), answers, _COMMON_PREFIX)


_COMMON_PREFIX = "Answer: The top 10 words that appear most often in the list are:"


def _ask_common(context: str) -> str:
    return (
        "Below is a numbered list of words. In these words, some appear more often than others. Memorize the ones that "
        f"appear most often.\n{context}\nQuestion: What are the 10 most common words in the above list?"
    )


def _numbered(words: Sequence[str]) -> str:
    return " ".join(map("%d. %s".__mod__, enumerate(words, 1)))


def _shuffled(chance: random.Random, words: Sequence[str]) -> list[str]:
    return chance.sample(words, len(words))


class FrequentWordsPrompts:
    """Prompts that ask for the three words that stand most often in a text of made-up words, whose frequencies fall as
    Zipf's law says; what stands most often of all is dots, which are no word.

    length: in tokens; the vocabulary has a fiftieth of it. A unit is one draw of a word.
    Source: Hsieh et al. 2024 (RULER), 3.3, alpha 2.
    """

    alpha = 2.0
    most_units = 1 << 31
    # The fourth word of a text of so many stands once, the third more often.
    least_units = 30

    def __init__(self, *, length: int, seed: int) -> None:
        chance = rng(seed, "coded words")
        pool: dict[str, None] = {}
        while len(pool) < _CODED_WORDS:
            pool["".join(chance.choices(_LETTERS, k=6))] = None
        self._pool = list(pool)
        self._shares = np.arange(1, max(length // 50, 5) + 1, dtype=float) ** -self.alpha / float(zeta(self.alpha))

    def _draw(self, chance: random.Random) -> tuple[np.ndarray, np.random.Generator]:
        """The numbers of the words by frequency, dots left out, and what decides their order."""
        order = np.random.default_rng(chance.getrandbits(64))
        return order.choice(len(self._pool), min(len(self._shares) - 1, len(self._pool)), replace=False), order

    def _repeats(self, units: int) -> np.ndarray:
        """How often dots and each word stand in a text of so many units. [words]"""
        return (units * self._shares).astype(np.int64)

    def fit(self, draw: PromptDraw, budget: int, counts: TokenCounts) -> tuple[int, int]:
        chance = draw.chance()
        words, _ = self._draw(chance)
        costs = counts.of([" ...", *(f" {self._pool[number]}" for number in words)], before="e")

        def tokens(units: int) -> int:
            return int((self._repeats(units)[: len(costs)] * costs).sum())

        low, high = self.least_units, max(self.least_units + 1, 2 * max(0, budget))
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if tokens(middle) <= budget else (low, middle)
        return low, tokens(low)

    def render(self, draw: PromptDraw, units: int) -> SizedPrompt:
        chance = draw.chance()
        words, order = self._draw(chance)
        texts = ["...", *(self._pool[number] for number in words)]
        numbers = np.repeat(np.arange(len(texts)), self._repeats(units)[: len(texts)])
        context = " ".join([texts[number] for number in order.permutation(numbers).tolist()])
        text = (
            "Read the following coded text and track the frequency of each coded word. Find the three most frequently "
            f"appeared coded words. {context}\nQuestion: Do not provide any explanation. Please ignore the dots '....'."
            " What are the three most frequently appeared words in the above coded text?"
        )
        prefix = "Answer: According to the coded text above, the three most frequently appeared words are:"
        return SizedPrompt(text, tuple(texts[1:4]), prefix)
