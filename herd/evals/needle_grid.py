"""Needles at every depth of texts of every length, and what a model finds of them as a grid.

Source: Kamradt 2023 (LLMTest_NeedleInAHaystack); Llama 3, 5.2.6 and its eval_details (multi-needle).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from herd.core.errors import DataError
from herd.evals.results import GroupShare, NeedleCell
from herd.evals.ruler_needles import KeyedNeedle, NeedleWords, SentenceHaystack
from herd.evals.sized import PromptDraw, SizedPrompt, TokenCounts, most_that_fit

_CELL = re.compile(r"(\d+) tokens, depth +(\d+) %")


def cell_name(length: int, depth: float) -> str:
    """The group that an example of a grid belongs to. depth: 0 to 1."""
    return f"{length:06d} tokens, depth {round(100 * depth):3d} %"


def grid_cells(groups: Mapping[str, GroupShare]) -> list[NeedleCell]:
    """The cells of a task whose groups are those of a grid; none of another."""
    cells = []
    for name, group in groups.items():
        match = _CELL.fullmatch(name)
        if match is None:
            return []
        hits = group.share * group.questions
        cells.append(NeedleCell(int(match[1]), int(match[2]) / 100, hits, group.questions))
    return cells


@dataclass(frozen=True)
class OwnNeedle:
    """A needle of a user's own words. sentence: that is hidden; question: that is asked; answer: that is looked for."""

    sentence: str
    question: str
    answer: str


class GridPrompts:
    """Needles at a depth of whole sentences, and a question about some of them.

    depths: of the first needle, 0 to 1; the others follow it at even distances to the end. Prompts go through the
    depths, `repeats` at each with other needles. num_needles: that are hidden; num_queries: that are asked for. own: in
    place of needles that are drawn. A sentence is never split: a needle stands before the one that its depth falls
    into, by characters.
    """

    most_units = 1 << 31

    def __init__(
        self, sentences: Sequence[str], words: NeedleWords, *, depths: Sequence[float], repeats: int = 1,
        num_needles: int = 1, num_queries: int = 1, own: OwnNeedle | None = None,
    ) -> None:  # fmt: skip
        if not 1 <= num_queries <= num_needles:
            raise DataError(f"{num_queries} of {num_needles} needles cannot be asked for; ask for at most all")
        self._haystack, self._words, self._own = SentenceHaystack(sentences), words, own
        self._sizes = np.array([len(sentence) + 1 for sentence in sentences])
        self._depths, self._repeats = tuple(depths), repeats
        self._num_needles, self._num_queries = num_needles, num_queries
        self.least_units = num_needles

    def depth_of(self, draw: PromptDraw) -> float:
        """The depth of the first needle."""
        return self._depths[draw.number // self._repeats]

    def _draw(self, chance: random.Random) -> tuple[list[str], str, tuple[str, ...]]:
        """The sentences to hide, the question, and what answers it."""
        if self._own is not None:
            return [self._own.sentence], self._own.question, (self._own.answer,)
        keys = self._words.draw_keys(chance, "words", self._num_needles)
        needles = [KeyedNeedle("numbers", key, self._words.draw(chance, "numbers")) for key in keys]
        queries = chance.sample(needles, self._num_queries)
        names = " and ".join(needle.key for needle in queries)
        number = "number" if len(queries) == 1 else "numbers"
        question = f"What {'is' if len(queries) == 1 else 'are'} the special magic {number} for {names}?"
        return [needle.sentence for needle in needles], question, tuple(needle.value for needle in queries)

    def fit(self, draw: PromptDraw, budget: int, counts: TokenCounts) -> tuple[int, int]:
        chance = draw.chance()
        sentences, question, _ = self._draw(chance)
        tokens = counts.total([f" {sentence}" for sentence in sentences]) + counts.total([f"\n\n{question}"])
        costs = self._haystack.costs(chance, budget, counts)
        units = max(self.least_units, most_that_fit(costs, budget - tokens))
        return units, tokens + int(costs[:units].sum())

    def render(self, draw: PromptDraw, units: int) -> SizedPrompt:
        chance = draw.chance()
        needles, question, answers = self._draw(chance)
        lines = self._haystack.units(chance, units)
        ends = np.cumsum(np.resize(self._sizes, units))
        for place, needle in reversed(list(zip(self._places(ends, self.depth_of(draw)), needles, strict=True))):
            lines.insert(place, needle)
        return SizedPrompt(f"{' '.join(lines)}\n\n{question}", answers)

    def _places(self, ends: np.ndarray, first: float) -> list[int]:
        """Before which sentence each needle goes. ends: of the sentences, in characters. [units]"""
        step = (1 - first) / self._num_needles
        depths = [first + step * number for number in range(self._num_needles)]
        return [int(np.searchsorted(ends, depth * ends[-1], side="right")) for depth in depths]
