"""Batches from token shards: which documents lie in which row, and which row comes when.

The order is a pure function of (seed, global row number). It does not depend on how many processes read,
and a run resumed at any step reads what it would have read.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from herd.core.errors import DataError
from herd.core.settings import Positive, Share, settings
from herd.tokens.shards import Shard, Shards
from herd.train.schedule import BatchRamp, MixPhase

IGNORED = -100  # a target that is not learnt
PADDING = -1  # the document of a place that holds none
WINDOW = 256  # pieces packed together: large enough to fill rows, small enough to stay shuffled
BLOCK = 1000  # rows over which the shares of a mix are met


@dataclass(frozen=True)
class Batch:
    """Rows to train on, each [B, T].

    tokens_BT: ids. targets_BT: the next id, or IGNORED. documents_BT: which document a place belongs to,
    numbered within its row. sources: of each row, where that is known. packed: whether any row of the whole batch
    holds several documents, where only a part of it is here.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    documents_BT: Tensor
    sources: tuple[str, ...] = ()
    packed: bool | None = None

    @property
    def weight(self) -> float:
        """How many targets there are."""
        return float((self.targets_BT != IGNORED).sum())

    @property
    def looked_at(self) -> Tensor | None:
        """The documents as attention wants them: None when each row holds one (padding stands behind it, unseen)."""
        packed = bool((self.documents_BT > 0).any()) if self.packed is None else self.packed
        return self.documents_BT if packed else None

    def marked(self, packed: bool) -> Batch:
        return replace(self, packed=packed)

    def places(self, some: Tensor) -> Batch:
        """Only these places of every row."""
        columns = (self.tokens_BT, self.targets_BT, self.documents_BT)
        return Batch(*[column[:, some] for column in columns], sources=self.sources, packed=self.packed)

    def parts(self, count: int) -> list[Batch]:
        """The rows in at most `count` equal parts."""
        size = -(-len(self.tokens_BT) // count)
        return [self.rows(slice(start, start + size)) for start in range(0, len(self.tokens_BT), size)]

    def rows(self, some: slice) -> Batch:
        columns = (self.tokens_BT, self.targets_BT, self.documents_BT)
        return Batch(*[column[some] for column in columns], sources=self.sources[some], packed=self.packed)

    def to(self, device: torch.device) -> Batch:
        return replace(
            self,
            tokens_BT=self.tokens_BT.to(device),
            targets_BT=self.targets_BT.to(device),
            documents_BT=self.documents_BT.to(device),
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a document: `count` inputs from `start`, each with the id after it as target."""

    document: int
    start: int
    count: int


Row = tuple[Piece, ...]
Text = tuple[NDArray[np.integer], NDArray[np.integer]]  # inputs and targets


# A piece among many: 16 bytes, where the object takes some 200.
_PIECE = np.dtype([("document", np.int64), ("start", np.int32), ("count", np.int32)])


def cut(lengths: NDArray[np.int64], order: NDArray[np.int64], length: int) -> NDArray[np.void]:
    """Documents in `order` as pieces of at most `length` inputs: an array of `_PIECE`. A document's last id is only a
    target."""
    inputs = np.maximum(lengths[order] - 1, 0)
    parts = -(-inputs // length)
    pieces = np.empty(int(parts.sum()), _PIECE)
    pieces["document"] = np.repeat(order, parts)
    first = np.repeat(np.cumsum(parts) - parts, parts)
    pieces["start"] = (np.arange(len(pieces)) - first) * length
    pieces["count"] = np.minimum(length, np.repeat(inputs, parts) - pieces["start"])
    return pieces


def fill(pieces: Sequence[Piece], length: int) -> list[Row]:
    """Pieces put into rows of `length`, each into the fullest row that has room; none is cut.

    Source: best-fit packing, Ding et al. 2024 (Fewer Truncations Improve Language Modeling).
    """
    rows: list[list[Piece]] = []
    room: list[tuple[int, int]] = []  # (places left, number of the row), in order
    for piece in sorted(pieces, key=lambda p: -p.count):
        at = bisect.bisect_left(room, (piece.count, -1))
        if at == len(room):
            rows.append([piece])
            left, number = length - piece.count, len(rows) - 1
        else:
            left, number = room.pop(at)
            rows[number].append(piece)
            left -= piece.count
        if left:
            bisect.insort(room, (left, number))
    return [tuple(row) for row in rows]


class PackedRows:
    """An epoch's rows, packed a window of pieces at a time and kept as numbers: a source may hold millions of
    documents."""

    def __init__(self, pieces: NDArray[np.void], length: int, chance: np.random.Generator) -> None:
        self._pieces = np.empty_like(pieces)
        counts: list[int] = []
        at = 0
        for start in range(0, len(pieces), WINDOW):
            filled = fill([Piece(*one) for one in pieces[start : start + WINDOW].tolist()], length)
            for number in chance.permutation(len(filled)):
                row = filled[number]
                self._pieces[at : at + len(row)] = [(one.document, one.start, one.count) for one in row]
                at += len(row)
                counts.append(len(row))
        self._ends = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> Row:
        return tuple(Piece(*one) for one in self._pieces[self._ends[number] : self._ends[number + 1]].tolist())


@settings
class LongFirst:
    """Of every source's documents below `longer_than` tokens only `short_share` is read each epoch, drawn anew, so that
    long ones make up more of every source while the sources keep their shares.

    Source: Fu et al. 2024 (Data Engineering for Scaling Language Models to 128K Context), section 3; 0.2 and 4,096 are
    their code's.
    """

    longer_than: Positive = 4096
    short_share: Share = 0.2


class SourceRows:
    """The rows of one source at one length, epoch after epoch, each epoch in an order of its own."""

    def __init__(self, name: str, shard: Shard, length: int, seed: int, long_first: LongFirst | None = None) -> None:
        if len(shard) == 0:
            raise DataError(f"source {name!r} holds no documents; take it out of the mix or give it some")
        self.name, self.shard, self.length, self.seed, self.long_first = name, shard, length, seed, long_first
        self._ends: list[int] = []  # rows up to the end of each epoch so far
        self._epochs: list[PackedRows] = []

    def row(self, number: int) -> Row:
        while not self._ends or number >= self._ends[-1]:
            self._pack_epoch()
        epoch = bisect.bisect_right(self._ends, number)
        return self._epochs[epoch][number - (self._ends[epoch - 1] if epoch else 0)]

    def texts(self, number: int) -> list[Text]:
        """Inputs and targets of every piece in a row."""
        found = []
        for piece in self.row(number):
            ids = self.shard.document(piece.document)[piece.start : piece.start + piece.count + 1]
            found.append((ids[:-1], ids[1:]))
        return found

    @property
    def rows_per_epoch(self) -> int:
        """Rows of the first epoch; later ones may pack a little differently."""
        self.row(0)
        return self._ends[0]

    def epoch(self, number: int) -> int:
        """How many times the source was read in full before row `number`."""
        self.row(number)
        return bisect.bisect_right(self._ends, number)

    def _read(self, chance: np.random.Generator) -> NDArray[np.int64]:
        """The documents of an epoch, in its order."""
        order = chance.permutation(len(self.shard))
        if self.long_first is None:
            return order
        lengths = self.shard.lengths[order]
        kept = (lengths >= self.long_first.longer_than) | (chance.random(len(order)) < self.long_first.short_share)
        return order[kept] if kept.any() else order

    def _pack_epoch(self) -> None:
        chance = generator(self.seed, self.name, self.length, len(self._epochs))
        pieces = cut(self.shard.lengths, self._read(chance), self.length)
        rows = PackedRows(pieces, self.length, chance)
        self._epochs.append(rows)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(rows))


class Mixture:
    """Which source the global row `number` is taken from, and which of that source's rows it is.

    Within every BLOCK rows each source comes as often as its share says, evenly spread.
    """

    def __init__(self, phases: tuple[MixPhase, ...], rows: int) -> None:
        self.phases, self.rows = phases, rows
        self.names = sorted({name for phase in phases for name, share in phase.shares.items() if share > 0})
        self._block: tuple[int, list[tuple[str, int]]] = (-1, [])

    def source_of(self, number: int) -> tuple[str, int]:
        block = number // BLOCK
        if self._block[0] != block:
            self._block = block, self._order(block)
        return self._block[1][number - block * BLOCK]

    def taken(self, name: str, row: int) -> int:
        """How many of the first `row` rows come from `name`, but for the rounding within a block."""
        taken, start = 0.0, 0.0
        for phase in self.phases:
            end = row if phase is self.phases[-1] else min(row, phase.until * self.rows)
            taken += _share(phase, name) * max(0.0, end - start)
            start = max(start, end)
        return int(taken + 1e-9)

    def _order(self, block: int) -> list[tuple[str, int]]:
        """The rows of a block: every source's turns evenly spaced, merged."""
        start, end = block * BLOCK, (block + 1) * BLOCK
        turns = []
        for name in self.names:
            first, last = self.taken(name, start), self.taken(name, end)
            turns += [((turn + 0.5) / (last - first), name, first + turn) for turn in range(last - first)]
        order = [(name, row) for _, name, row in sorted(turns)]
        # Rounding down leaves a block short by less than one row a source; rows seen lately fill it.
        return (order + order)[:BLOCK]


def _share(phase: MixPhase, name: str) -> float:
    return phase.shares.get(name, 0.0) / sum(phase.shares.values())


class TokenBatches:
    """The batch of every step: rows from several sources, mixed as the phases say."""

    def __init__(
        self,
        shards: Shards,
        mix: Sequence[MixPhase],
        ramp: BatchRamp,
        seed: int,
        pad: int,
        long_first: LongFirst | None = None,
    ) -> None:
        unknown = {name for phase in mix for name, share in phase.shares.items() if share > 0} - set(shards.sources)
        if unknown:
            raise DataError(
                f"the mix names {', '.join(sorted(unknown))}; the tokens hold {', '.join(shards.sources)}: mend the mix"
            )
        self.ramp, self.pad = ramp, pad
        self.mixture = Mixture(tuple(mix), ramp.rows)
        self.sources = {
            name: SourceRows(name, shards.read(name), ramp.length, seed, long_first) for name in self.mixture.names
        }

    def __len__(self) -> int:
        return self.ramp.steps

    def batch(self, step: int) -> Batch:
        picks = [self.mixture.source_of(number) for number in self.ramp.rows_of(step)]
        rows = [self.sources[name].texts(number) for name, number in picks]
        return replace(collate(rows, self.ramp.length, self.pad), sources=tuple(name for name, _ in picks))

    def counts(self) -> dict[str, dict[str, int]]:
        """Per source: rows given in the whole run, and how often it was read in full."""
        taken = {name: self.mixture.taken(name, self.mixture.rows) for name in self.sources}
        return {
            name: {"rows": rows, "epochs": self.sources[name].epoch(max(0, rows - 1))} for name, rows in taken.items()
        }


def collate(rows: Sequence[Sequence[Text]], length: int, pad: int) -> Batch:
    """Rows of texts as tensors, padded at the end."""
    tokens = np.full((len(rows), length), pad, np.int64)
    targets = np.full((len(rows), length), IGNORED, np.int64)
    documents = np.full((len(rows), length), PADDING, np.int64)
    for number, texts in enumerate(rows):
        at = 0
        for document, (inputs, wanted) in enumerate(texts):
            place = slice(at, at + len(inputs))
            tokens[number, place], targets[number, place], documents[number, place] = inputs, wanted, document
            at += len(inputs)
    return Batch(torch.from_numpy(tokens), torch.from_numpy(targets), torch.from_numpy(documents))


def generator(seed: int, *names: object) -> np.random.Generator:
    """Random numbers of their own for everything called by `names`."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def held_out_batches(shards: Shards, source: str, length: int, pad: int, rows: int, size: int = 8) -> Iterator[Batch]:
    """At most `rows` rows of a source's held-out documents, `size` at a time; nothing when it has none.

    They lie evenly over all of its text: one long document would else stand for the source.
    """
    shard = shards.read(source, "heldout")
    if len(shard) == 0:
        return
    packed = SourceRows(source, shard, length, seed=0)
    count = min(rows, packed.rows_per_epoch)
    numbers = [number * packed.rows_per_epoch // count for number in range(count)]
    for start in range(0, count, size):
        yield collate([packed.texts(number) for number in numbers[start : start + size]], length, pad)
