"""What lets a context grow: every cell of a needle test, and short rows predicted as well as before (3.4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from herd.core.artifacts import METADATA_FILE, Checkpoint
from herd.core.executor import Executor
from herd.evals.haystack import haystacks
from herd.evals.losses import held_out_means
from herd.evals.needle import NeedleGrid, held_out_texts, needle_test
from herd.generate.engine import Engine
from herd.model.collectives import SINGLE_RANK, RankGroup
from herd.model.transformer import Transformer
from herd.pretrain.results import ContextExtension, GateResult, ShortLosses
from herd.run.processes import trim_memory
from herd.tokens.shards import TokenShards
from herd.tokens.tokenizer import TextTokenizer

# Few enough rows that the mask of one batch of long haystacks stays small.
_NEEDLE_ROWS = 16
_SHORT_TOKENS = 2048  # a source, for the loss on short rows
_SHORT_ROWS = 8  # a source at least, since an interval is over rows
_HALVINGS = 3  # a test at L is at L/8, L/4, L/2 and L
_SHORTEST = 64  # tokens; in fewer there is hardly room for anything but the needle


def lengths_up_to(length: int) -> tuple[int, ...]:
    """The lengths of a needle test up to `length`, which is the last."""
    halves = [length >> part for part in range(_HALVINGS, 0, -1)]
    return (*(half for half in halves if half >= _SHORTEST), length)


def baseline(model: Checkpoint) -> ShortLosses | None:
    """Short losses as they were before the last switch on the way to `model`; None before there was one."""
    if not (model.path / METADATA_FILE).exists():
        return None
    extension = model.get_result(ContextExtension)
    return None if extension is None else extension.short_baseline


@dataclass(frozen=True)
class GateOutcome:
    """How a gate was met. grid: of the needle test. min_recall: that was asked of every cell. missed: cells with fewer,
    as (length, depth). worse: what is not predicted as well as before the last switch."""

    grid: NeedleGrid
    min_recall: float
    missed: tuple[tuple[int, float], ...]
    worse: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.missed and not self.worse

    def result(self) -> GateResult:
        """What is recorded of it."""
        lowest = min((hits / total for hits, total in self.grid.cells.values()), default=0.0)
        return GateResult(self.min_recall, lowest, self.missed, self.worse, bool(self))

    def __str__(self) -> str:
        if self:
            return "passed"
        why = []
        if self.missed:
            length, depth = self.missed[0]
            hits, total = self.grid.cells[length, depth]
            more = f" and in {len(self.missed) - 1} more cells" if len(self.missed) > 1 else ""
            why.append(f"{hits} of {total} needles found at {length} tokens, depth {depth:g}{more}")
        if self.worse:
            why.append(f"short rows predicted worse than before the switch ({', '.join(self.worse)})")
        return f"failed: {'; '.join(why)}"


@dataclass(frozen=True)
class GateTest:
    """Needle tests on held-out text, and losses on short rows. seeds: needles a cell. tolerance: by how much, as a
    share, a short loss may have risen. ranks: that have the model too, and do a part of the tests."""

    shards: TokenShards
    tokenizer: TextTokenizer
    text_sources: tuple[str, ...]
    weights: Mapping[str, float]
    seeds: int
    tolerance: float
    executor: Executor
    ranks: RankGroup = SINGLE_RANK

    def short_losses(self, model: Transformer, length: int, weights: Mapping[str, float] | None = None) -> ShortLosses:
        """Losses on rows of `length`, of the sources with a share and with held-out text."""
        positive = {name: weight for name, weight in (weights or self.weights).items() if weight > 0}
        tokens = max(_SHORT_TOKENS, _SHORT_ROWS * length)
        losses = held_out_means(
            model,
            self.shards,
            length=length,
            tokens=tokens,
            sources=positive,
            workers=self.executor.workers,
            ranks=self.ranks,
        )
        return ShortLosses(length, losses, positive)

    def needle_grid(self, model: Transformer, length: int) -> NeedleGrid:
        """Needles at every depth and every length up to `length`."""
        documents = held_out_texts(self.shards, self.tokenizer, self.text_sources)
        stacks = haystacks(
            documents, lambda words: len(self.tokenizer.encode(words)), lengths=lengths_up_to(length), seeds=self.seeds
        )
        trim_memory()  # what steps took is not for the test to lie beside
        engine = Engine(model, self.tokenizer.stop_token_ids, max_num_seqs=_NEEDLE_ROWS, ranks=self.ranks)
        return needle_test(engine, self.tokenizer, list(stacks), chat=False)

    def run(self, model: Transformer, length: int, min_recall: float, before: ShortLosses | None) -> GateOutcome:
        """Whether `min_recall` of the needles is found in every cell up to `length`, and short rows are predicted as
        well as they were `before`."""
        grid = self.needle_grid(model, length)
        missed = tuple(cell for cell, (hits, total) in sorted(grid.cells.items()) if hits < min_recall * total)
        worse: list[str] = []
        if before and not missed:  # where needles are missed, nothing else is asked
            worse = before.worse(self.short_losses(model, before.length, before.weights), self.tolerance)
        trim_memory()  # what the test took is not for the steps to keep
        return GateOutcome(grid, min_recall, missed, tuple(worse))
