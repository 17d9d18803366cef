"""Batches from token shards: which row comes when, and rows as tensors.

The order is a pure function of (seed, global row number). It does not depend on how many processes read,
and a run resumed at any step reads what it would have read. Of several ranks each builds its own rows only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from herd.core.errors import DataError, TrainingError
from herd.tokens.shards import TokenShards
from herd.train.mixture import Mixture
from herd.train.rows import InputsTargets, LengthUpsampling, SourceRows, has_text, row_length
from herd.train.schedule import BatchRamp, MixPhase, mix_within

IGNORE_INDEX = -100  # a target that is not learnt
PADDING_DOCUMENT = -1  # the document of a place that holds none

Covariant = TypeVar("Covariant", covariant=True)
BatchT = TypeVar("BatchT")


class Batches(Protocol[Covariant]):
    """A batch for every step, the same one however often it is asked for."""

    def __len__(self) -> int: ...
    def batch(self, step: int) -> Covariant: ...


class RankBatches(Batches[Covariant], Protocol[Covariant]):
    """Batches of which several ranks may each have their own rows. by_rank: that they may, see the function below."""

    by_rank: bool

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Covariant: ...


def builds_rank_batches(batches: Any) -> bool:
    """Whether `batches` makes a rank's rows without those of the others."""
    return bool(getattr(batches, "by_rank", False))


@dataclass(frozen=True)
class GlobalBatch:
    """What is known of a batch where only some of its rows are. num_targets: how many there are. packed: whether any
    row holds several documents. sources: of all rows, each once."""

    num_targets: float
    packed: bool
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """Rows to train on, each [B, T].

    tokens_BT: ids. targets_BT: the next id, or IGNORE_INDEX. documents_BT: which document a place belongs to,
    numbered within its row. sources: of each row, where that is known. global_batch: about the batch that these rows
    are a rank's part of.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    documents_BT: Tensor
    sources: tuple[str, ...] = ()
    global_batch: GlobalBatch | None = None

    @property
    def loss_denominator(self) -> float:
        """What the loss is divided by: how many targets there are, on all ranks."""
        return (
            float((self.targets_BT != IGNORE_INDEX).sum())
            if self.global_batch is None
            else self.global_batch.num_targets
        )

    @property
    def all_sources(self) -> tuple[str, ...]:
        """Of the rows of all ranks."""
        return self.sources if self.global_batch is None else self.global_batch.sources

    @property
    def attention_documents(self) -> Tensor | None:
        """The documents as attention wants them: None when each row holds one (padding stands behind it, unseen)."""
        packed = bool((self.documents_BT > 0).any()) if self.global_batch is None else self.global_batch.packed
        return self.documents_BT if packed else None

    def select_positions(self, positions: Tensor) -> Batch:
        """Only these places of every row."""
        columns = (self.tokens_BT, self.targets_BT, self.documents_BT)
        return Batch(
            *[column[:, positions] for column in columns], sources=self.sources, global_batch=self.global_batch
        )

    def parts(self, count: int) -> list[Batch]:
        """The rows in at most `count` equal parts."""
        size = -(-len(self.tokens_BT) // count)
        return [self.rows(slice(start, start + size)) for start in range(0, len(self.tokens_BT), size)]

    def rows(self, selection: slice) -> Batch:
        columns = (self.tokens_BT, self.targets_BT, self.documents_BT)
        return Batch(
            *[column[selection] for column in columns], sources=self.sources[selection], global_batch=self.global_batch
        )

    def to(self, device: torch.device) -> Batch:
        return replace(
            self,
            tokens_BT=self.tokens_BT.to(device),
            targets_BT=self.targets_BT.to(device),
            documents_BT=self.documents_BT.to(device),
        )


@dataclass(frozen=True)
class _Stretch:
    """Steps whose rows have one length: the sources in such rows, and which comes next. first_row: among all rows."""

    first_row: int
    rows: int
    length: int
    sources: dict[str, SourceRows]
    mixture: Mixture

    def picks(self, numbers: range) -> list[tuple[str, int]]:
        """Source and row of each of the run's rows `numbers`."""
        return [self.mixture.source_of(number - self.first_row) for number in numbers]


class TokenBatches:
    """The batch of every step: rows from several sources, mixed as the phases say.

    Rows of each length are packed apart, in an order of their own: where the length changes every source begins anew,
    so that some documents may be read in both, and its share holds in each part.
    """

    by_rank = True

    def __init__(
        self,
        shards: TokenShards,
        mix: Sequence[MixPhase],
        ramp: BatchRamp,
        seed: int,
        pad: int,
        length_upsampling: LengthUpsampling | None = None,
    ) -> None:
        names = set[str]().union(*(phase.sources for phase in mix))
        if unknown := names - set(shards.sources):
            raise DataError(
                f"the mix names {', '.join(sorted(unknown))}; the tokens hold {', '.join(shards.sources)}: mend the mix"
            )
        self.ramp, self.pad = ramp, pad
        self._stretches: list[_Stretch] = []
        total, seen, row = max(1, ramp.trained_tokens), 0, 0
        for length, phases in groupby((phase for phase in ramp.plan if phase.steps), key=lambda phase: phase.length):
            own = list(phases)
            after, rows = seen + sum(phase.tokens for phase in own), sum(phase.steps * phase.rows for phase in own)
            part = mix_within(mix, seen / total, after / total)
            used = sorted(names & set[str]().union(*(phase.sources for phase in part)))
            sources = {name: SourceRows(name, shards.read(name), length, seed, length_upsampling) for name in used}
            self._stretches.append(_Stretch(row, rows, length, sources, Mixture(part, rows, length, sources)))
            seen, row = after, row + rows

    def __len__(self) -> int:
        return self.ramp.steps

    def stretch_of(self, step: int) -> _Stretch:
        """The rows of the length that `step` takes."""
        first = self.ramp.phase_of(step).first_row
        return next(stretch for stretch in reversed(self._stretches) if stretch.first_row <= first)

    def batch(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The rows of `step`, of several ranks those of one; no text of the others is read."""
        stretch = self.stretch_of(step)
        picks = stretch.picks(self.ramp.rows_of(step))
        own = picks[rank_rows(len(picks), rank, world_size)]
        rows = [stretch.sources[name].texts(number) for name, number in own]
        batch = replace(collate(rows, stretch.length, self.pad), sources=tuple(name for name, _ in own))
        if world_size == 1:
            return batch
        all_rows = [stretch.sources[name].row(number) for name, number in picks]
        targets = float(sum(map(row_length, all_rows)))
        sources = tuple(sorted({name for name, _ in picks}))
        return replace(batch, global_batch=GlobalBatch(targets, any(len(row) > 1 for row in all_rows), sources))

    def counts(self, steps: int | None = None) -> dict[str, dict[str, float]]:
        """Per source, of the first `steps` steps, of all when absent: rows and tokens given, the share of all tokens,
        and how often it was read in full."""
        rows = self.ramp.rows if steps is None or steps >= len(self) else self.ramp.rows_of(steps).start
        counted: dict[str, dict[str, float]] = {}
        for stretch in self._stretches:
            row_counts = stretch.mixture.row_counts(min(stretch.rows, max(0, rows - stretch.first_row)))
            for name, count in row_counts.items():
                source, row = stretch.sources[name], counted.setdefault(name, {"rows": 0, "tokens": 0, "epochs": 0})
                row["rows"] += count
                row["tokens"] += source.tokens(count)
                row["epochs"] += source.epoch(max(0, count - 1))
        total = max(1, sum(row["tokens"] for row in counted.values()))
        return {
            name: {
                "rows": row["rows"],
                "tokens": row["tokens"],
                "share": row["tokens"] / total,
                "epochs": row["epochs"],
            }
            for name, row in sorted(counted.items())
        }


def rank_rows(rows: int, rank: int, world_size: int) -> slice:
    """Which of a batch's rows are a rank's. Raises TrainingError when they cannot be shared out evenly."""
    if rows % world_size:
        raise TrainingError(
            f"a batch of {rows} rows cannot be divided by {world_size} data ranks; set batch_size or batch_tokens so "
            f"that it holds {-(-rows // world_size) * world_size} rows"
        )
    own = rows // world_size
    return slice(rank * own, (rank + 1) * own)


def step_rows(available: int, wanted: int, ranks: int) -> int:
    """Rows of a step where there are so many `available` and `wanted` in a batch: where there are fewer, as many of
    them as `ranks` share evenly. Raises DataError where a rank would get none."""
    rows = min(available, wanted)
    if rows < ranks:
        raise DataError(
            f"{rows} rows are fewer than the {ranks} data ranks that share a step; take fewer devices (--gpus or "
            "layout.data), or bring more rows"
        )
    return rows - rows % ranks


class PrefetchedBatches(Generic[BatchT]):
    """`batches`, of which a thread prepares the next one while the last is worked on.

    What goes wrong in the thread is raised where that batch is asked for. Until `close` nobody else may ask `batches`.
    """

    def __init__(self, batches: Batches[BatchT]) -> None:
        self._batches: Any = batches
        self.by_rank = builds_rank_batches(batches)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: tuple[tuple[int, ...], Future[BatchT]] | None = None

    def __len__(self) -> int:
        return len(self._batches)

    def batch(self, step: int, *rank: int) -> BatchT:
        """As `batches.batch`; rank: which one, of how many."""
        key, ahead = (step, *rank), self._ahead
        if ahead is not None and ahead[0] == key:
            future = ahead[1]
        else:
            if ahead is not None:
                ahead[1].cancel()
            future = self._thread.submit(self._batches.batch, *key)
        self._ahead = None
        if step + 1 < len(self):
            self._ahead = (step + 1, *rank), self._thread.submit(self._batches.batch, step + 1, *rank)
        return future.result()

    def close(self) -> None:
        """Waits for the batch at work, if there is one; its fault is nobody's."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def collate(rows: Sequence[Sequence[InputsTargets]], length: int, pad: int) -> Batch:
    """Rows of texts as tensors, padded at the end."""
    tokens = np.full((len(rows), length), pad, np.int64)
    targets = np.full((len(rows), length), IGNORE_INDEX, np.int64)
    documents = np.full((len(rows), length), PADDING_DOCUMENT, np.int64)
    for number, texts in enumerate(rows):
        at = 0
        for document, (inputs, text_targets) in enumerate(texts):
            span = slice(at, at + len(inputs))
            tokens[number, span], targets[number, span], documents[number, span] = inputs, text_targets, document
            at += len(inputs)
    return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(documents))


def held_out_batches(
    shards: TokenShards, source: str, length: int, pad: int, rows: int, size: int = 8
) -> Iterator[Batch]:
    """At most `rows` rows of a source's held-out documents, `size` at a time; nothing when it has none.

    They lie evenly over all of its text: one long document would else stand for the source.
    """
    shard = shards.read(source, "heldout")
    if not has_text(shard):
        return
    packed = SourceRows(source, shard, length, seed=0)
    count = min(rows, packed.rows_per_epoch)
    numbers = [number * packed.rows_per_epoch // count for number in range(count)]
    for start in range(0, count, size):
        yield collate([packed.texts(number) for number in numbers[start : start + size]], length, pad)
