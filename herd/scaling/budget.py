"""Which small models to train, and on how much, for one curve per compute budget."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from herd.core.errors import SettingsError
from herd.core.settings import MixtureWeights, PositiveFloat, PositiveInt, Share, settings
from herd.model.sizes import Size, SizeOrName


@settings
class LadderSettings:
    """budgets: training FLOPs of each curve. sizes: the models of every curve; each is trained on as many
    tokens as its budget buys. length: tokens in a row. batch_tokens: one batch size for all. lr,
    min_lr_ratio: as of any training. mixture_weights: those of the run that is forecast where they are absent."""

    budgets: tuple[PositiveFloat, ...]
    sizes: tuple[SizeOrName, ...]
    length: PositiveInt
    batch_tokens: PositiveInt
    lr: PositiveFloat
    min_lr_ratio: Share = 0.1
    mixture_weights: MixtureWeights | None = None


@dataclass(frozen=True)
class LadderRun:
    """One model of the ladder. tokens: what `budget` FLOPs buy for a model of this size."""

    budget: float
    size: Size
    tokens: int


def ladder_runs(ladder: LadderSettings, *, vocabulary: int) -> list[LadderRun]:
    """Every model of every curve, the budgets in the order given.

    FLOPs are counted exactly, embeddings' output included, because 6 N D is far off for small models.
    Raises SettingsError when a budget buys less than ten batches for a size. Source: Llama 3, 3.2.1.
    """
    rungs = itertools.product(ladder.budgets, ladder.sizes)
    return [_ladder_run(budget, size, ladder, vocabulary) for budget, size in rungs]


def _ladder_run(budget: float, size: Size, ladder: LadderSettings, vocabulary: int) -> LadderRun:
    flops = size.shape(vocab_size=vocabulary, max_seq_len=ladder.length).training_flops(ladder.length)
    tokens = int(budget / flops)
    if tokens < 10 * ladder.batch_tokens:
        raise SettingsError(
            f"ladder: {budget:.1e} FLOPs buy {tokens:,} tokens for width {size.dim}, fewer than ten batches of "
            f"{ladder.batch_tokens:,}; try a budget of {10.5 * ladder.batch_tokens * flops:.1e}, or a smaller model"
        )
    return LadderRun(budget, size, tokens)


def by_budget(budgets: Sequence[float], values: Sequence[float]) -> list[list[float]]:
    """Values of rungs, curve by curve: each curve has equally many."""
    width = len(values) // len(budgets)
    return [list(values[number * width : (number + 1) * width]) for number in range(len(budgets))]
