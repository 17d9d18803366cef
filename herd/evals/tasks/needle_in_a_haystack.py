"""Sentences hidden in texts of a user's own, at every length and depth, made for the tokenizer of the model asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from herd.core.errors import SettingsError
from herd.core.settings import InputFile, NonNegativeInt, PositiveInt
from herd.evals.needle_grid import GridPrompts, OwnNeedle, cell_name
from herd.evals.ruler_needles import NeedleWords
from herd.evals.sized import PromptDraw, PromptPlan, SizedTask, sized_task
from herd.evals.tasks import tasks
from herd.evals.tasks.ruler import key_words
from herd.evals.texts import read_texts, split_sentences


def grid_lengths(least: int, most: int, count: int) -> tuple[int, ...]:
    """`count` lengths from the least to the most, at even distances. Raises SettingsError where there are none."""
    if least > most or (count == 1) != (least == most):
        raise SettingsError(f"{count} lengths from {least:,} to {most:,} tokens are none; give others")
    return tuple(round(length) for length in np.linspace(least, most, count))


def grid_depths(count: int) -> tuple[float, ...]:
    """`count` depths from 0 to 1, at even distances, in whole percent."""
    return tuple(round(float(depth), 2) for depth in np.linspace(0, 1, count)) if count > 1 else (0.5,)


@tasks.add
def niah(
    *, data: InputFile, min_length: PositiveInt = 1_000, max_length: PositiveInt = 16_000,
    num_lengths: PositiveInt = 35, num_depths: PositiveInt = 35, repeats: PositiveInt = 1, needle: str = "",
    question: str = "", answer: str = "", words: InputFile | None = None, seed: NonNegativeInt = 42,
) -> SizedTask:  # fmt: skip
    """A sentence hidden at each of `num_depths` depths of texts of `num_lengths` lengths; right when its value is said.

    data: a file or folder of texts, or rows with a column `text`, which hide it. min_length, max_length: in tokens, of
    which 200 are left for the answer. repeats: prompts in each cell. needle, question, answer: a sentence of one's own,
    what is asked, and the words that a right answer has; a number that belongs to a key when absent. words: as of
    `niah_single_1`. Differs: the original has a model judge answers.
    Source: Kamradt 2023 (LLMTest_NeedleInAHaystack).
    """
    if len({bool(needle), bool(question), bool(answer)}) > 1:
        raise SettingsError("a needle of one's own takes `needle`, `question` and `answer`; give all three or none")
    own = OwnNeedle(needle, question, answer) if needle else None
    depths, lengths = grid_depths(num_depths), grid_lengths(min_length, max_length, num_lengths)

    @cache  # one for all lengths
    def make() -> GridPrompts:
        no_words = NeedleWords((), ())  # none are drawn
        return GridPrompts(
            _sentences(data), no_words if own else key_words(words), depths=depths, repeats=repeats, own=own
        )

    inputs = {"data": data, "words": words, "own": [needle, question, answer], "depths": depths, "repeats": repeats}
    plan = PromptPlan("niah", lengths, len(depths) * repeats, seed, 200, inputs)
    return sized_task(plan, lambda length: make(), group=_cells(depths, repeats))


@tasks.add
def multi_needle(
    *, data: InputFile, min_length: PositiveInt = 2_000, max_length: PositiveInt = 131_072,
    num_lengths: PositiveInt = 10, num_depths: PositiveInt = 10, repeats: PositiveInt = 1,
    num_needles: PositiveInt = 4, num_queries: PositiveInt = 2, words: InputFile | None = None,
    seed: NonNegativeInt = 42,
) -> SizedTask:  # fmt: skip
    """Four numbers that belong to keys, hidden in texts, two of which are asked for; the share of them that is said.

    num_depths: of the first needle; the others follow it at even distances to the end. The other settings: as of
    `niah`; the answer has 256 tokens. Differs: the report says nothing of depths.
    Source: Llama 3, 5.2.6 and eval_details (Needle-in-a-Haystack).
    """
    depths, lengths = grid_depths(num_depths), grid_lengths(min_length, max_length, num_lengths)

    @cache  # one for all lengths
    def make() -> GridPrompts:
        return GridPrompts(
            _sentences(data), key_words(words), depths=depths, repeats=repeats, num_needles=num_needles,
            num_queries=num_queries,
        )  # fmt: skip

    inputs = {"data": data, "words": words, "counts": [num_needles, num_queries], "depths": depths, "repeats": repeats}
    plan = PromptPlan("multi_needle", lengths, len(depths) * repeats, seed, 256, inputs)
    return sized_task(plan, lambda length: make(), group=_cells(depths, repeats))


def _sentences(data: str) -> list[str]:
    return split_sentences(read_texts(data))


def _cells(depths: Sequence[float], repeats: int) -> Callable[[PromptDraw], str]:
    def group(draw: PromptDraw) -> str:
        return cell_name(draw.length, depths[draw.number // repeats])

    return group
