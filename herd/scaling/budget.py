"""Which small models to train, and on how much, for one curve per compute budget."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from herd.core.errors import SettingsError
from herd.core.settings import MixtureWeights, NonNegativeFloat, PositiveFloat, PositiveInt, Share, settings
from herd.evals.stages import TaskChoice
from herd.model.sizes import Size, SizeOrName
from herd.scaling.laws import FEWEST_POINTS

_FEWEST_BATCHES = 10


@settings
class LadderSettings:
    """budgets: training FLOPs of each curve. sizes: the models of every curve; each is trained on as many
    tokens as its budget buys. skip_sizes: whether sizes too large for a budget are left out of its curve; they are
    refused otherwise. length: tokens in a row. batch_tokens: for all, or one for each budget. lr: for all, or one for
    each size; one for all is too high for the large models or too low for the small, which bends the curves.
    min_lr_ratio: as of any training. warmup: too; absent, that of the run that is forecast, its steps taken as a share
    of that run's. mixture_weights: those of the run that is forecast where they are absent. tasks:
    put to every model, so that the base's scores are forecast."""

    budgets: tuple[PositiveFloat, ...]
    sizes: tuple[SizeOrName, ...]
    length: PositiveInt
    batch_tokens: PositiveInt | tuple[PositiveInt, ...]
    lr: PositiveFloat | tuple[PositiveFloat, ...]
    min_lr_ratio: Share = 0.1
    warmup: NonNegativeFloat | None = None
    mixture_weights: MixtureWeights | None = None
    skip_sizes: bool = False
    tasks: tuple[TaskChoice, ...] = ()

    def __post_init__(self) -> None:
        for name, owners in (("lr", "sizes"), ("batch_tokens", "budgets")):
            value, count = getattr(self, name), len(getattr(self, owners))
            if isinstance(value, tuple) and len(value) != count:
                raise SettingsError(
                    f"ladder: {len(value)} values of {name} for {count} {owners}; give one each, or one"
                )


@dataclass(frozen=True)
class LadderRun:
    """One model of the ladder. tokens: what `budget` FLOPs buy for a model of this size. batch_tokens, lr: of its
    training."""

    budget: float
    size: Size
    tokens: int
    batch_tokens: int
    lr: float


def ladder_runs(ladder: LadderSettings, *, vocabulary: int) -> list[LadderRun]:
    """Every model of every curve, the budgets in the order given.

    FLOPs are counted exactly, embeddings' output included, because 6 N D is far off for small models.
    Raises SettingsError for fewer sizes than a curve wants, and when a budget buys less than ten batches for a size
    that is not to be skipped, or leaves too few sizes for a curve. Source: Llama 3, 3.2.1.
    """
    if len(ladder.sizes) < FEWEST_POINTS:
        raise SettingsError(
            f"ladder: {len(ladder.sizes)} sizes, and a curve wants {FEWEST_POINTS}; add sizes, larger and smaller ones"
        )
    runs = []
    for number, budget in enumerate(ladder.budgets):
        batch_tokens = _of_each(ladder.batch_tokens, number)
        curve = [
            _ladder_run(budget, size, batch_tokens, _of_each(ladder.lr, place), ladder, vocabulary)
            for place, size in enumerate(ladder.sizes)
        ]
        trainable = [run for run in curve if run.tokens >= _FEWEST_BATCHES * batch_tokens]
        if ladder.skip_sizes and len(trainable) < FEWEST_POINTS:
            raise SettingsError(
                f"ladder: {budget:.1e} FLOPs buy ten batches of {batch_tokens:,} for {len(trainable)} of {len(curve)} "
                f"sizes, and a curve wants {FEWEST_POINTS}; add smaller sizes, or take a larger budget or smaller batch"
            )
        runs += trainable if ladder.skip_sizes else [_checked(run, ladder, vocabulary) for run in curve]
    return runs


def _of_each(value: float | tuple[float, ...], number: int) -> Any:
    """The value for the budget or size `number`, where there is one for each."""
    return value[number] if isinstance(value, tuple) else value


def _ladder_run(
    budget: float, size: Size, batch_tokens: int, lr: float, ladder: LadderSettings, vocabulary: int
) -> LadderRun:
    tokens = int(budget / _flops_per_token(size, ladder, vocabulary))
    return LadderRun(budget, size, tokens, batch_tokens, lr)


def _flops_per_token(size: Size, ladder: LadderSettings, vocabulary: int) -> float:
    return size.shape(vocab_size=vocabulary, max_seq_len=ladder.length).training_flops(ladder.length)


def _checked(run: LadderRun, ladder: LadderSettings, vocabulary: int) -> LadderRun:
    if run.tokens >= _FEWEST_BATCHES * run.batch_tokens:
        return run
    enough = (_FEWEST_BATCHES + 0.5) * run.batch_tokens * _flops_per_token(run.size, ladder, vocabulary)
    raise SettingsError(
        f"ladder: {run.budget:.1e} FLOPs buy {run.tokens:,} tokens for width {run.size.dim}, fewer than ten batches of "
        f"{run.batch_tokens:,}; try a budget of {enough:.1e}, a smaller model, or skip_sizes: true"
    )


def models_per_budget(runs: Sequence[LadderRun]) -> tuple[int, ...]:
    """How many models each curve has, in the order of the runs' budgets."""
    return tuple(len(list(curve)) for _, curve in itertools.groupby(runs, key=lambda run: run.budget))


def by_budget(budgets: Sequence[float], values: Sequence[float], counts: Sequence[int] = ()) -> list[list[float]]:
    """Values of rungs, curve by curve. counts: how many each curve has; equally many when absent."""
    ends = list(itertools.accumulate(counts or [len(values) // len(budgets)] * len(budgets)))
    return [list(values[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
