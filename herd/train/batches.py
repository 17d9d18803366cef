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
from herd.train.mixture import Mixture
from herd.train.schedule import BatchRamp, MixPhase

IGNORED = -100  # a target that is not learnt
PADDING = -1  # the document of a place that holds none
WINDOW = 256  # pieces packed together: large enough to fill rows, small enough to stay shuffled


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

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Of every row."""
        return np.add.reduceat(self._pieces["count"], self._ends[:-1], dtype=np.int64)

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


def has_text(shard: Shard) -> bool:
    """Whether any document has a token and one after it."""
    return len(shard) > 0 and int(shard.lengths.max()) > 1


class SourceRows:
    """The rows of one source at one length, epoch after epoch, each epoch in an order of its own."""

    def __init__(self, name: str, shard: Shard, length: int, seed: int, long_first: LongFirst | None = None) -> None:
        if not has_text(shard):
            raise DataError(f"source {name!r} holds no documents; take it out of the mix or give it some")
        self.name, self.shard, self.length, self.seed, self.long_first = name, shard, length, seed, long_first
        self._ends: list[int] = []  # rows up to the end of each epoch so far
        self._epochs: list[PackedRows] = []
        # Up to the end of each row so far, and to its middle: tokens.
        self._tokens, self._middles = np.empty(0, np.int64), np.empty(0)

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

    def middles(self, tokens: float) -> NDArray[np.float64]:
        """How many of the source's tokens lie before the middle of each row, of all rows whose middle lies before
        `tokens` and of one more at least."""
        while not len(self._middles) or self._middles[-1] <= tokens:
            self._pack_epoch()
        return self._middles

    def tokens(self, rows: int) -> int:
        """In the first `rows` rows: inputs, each with a target."""
        if rows:
            self.row(rows - 1)
        return int(self._tokens[rows - 1]) if rows else 0

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
        return order[kept] if kept.any() and lengths[kept].max() > 1 else order

    def _pack_epoch(self) -> None:
        chance = generator(self.seed, self.name, self.length, len(self._epochs))
        pieces = cut(self.shard.lengths, self._read(chance), self.length)
        rows = PackedRows(pieces, self.length, chance)
        ends = rows.tokens.cumsum() + (self._tokens[-1] if len(self._tokens) else 0)
        self._tokens = np.append(self._tokens, ends)
        self._middles = np.append(self._middles, ends - rows.tokens / 2)
        self._epochs.append(rows)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(rows))


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
        names = sorted({name for phase in mix for name, share in phase.shares.items() if share > 0})
        self.sources = {name: SourceRows(name, shards.read(name), ramp.length, seed, long_first) for name in names}
        self.mixture = Mixture(tuple(mix), ramp.rows, ramp.length, self.sources)

    def __len__(self) -> int:
        return self.ramp.steps

    def batch(self, step: int) -> Batch:
        picks = [self.mixture.source_of(number) for number in self.ramp.rows_of(step)]
        rows = [self.sources[name].texts(number) for name, number in picks]
        return replace(collate(rows, self.ramp.length, self.pad), sources=tuple(name for name, _ in picks))

    def counts(self, steps: int | None = None) -> dict[str, dict[str, float]]:
        """Per source, of the first `steps` steps, of all when absent: rows and tokens given, the share of all tokens,
        and how often it was read in full."""
        rows = self.ramp.rows if steps is None or steps >= len(self) else self.ramp.rows_of(steps).start
        taken = self.mixture.taken(rows)
        tokens = {name: self.sources[name].tokens(count) for name, count in taken.items()}
        total = max(1, sum(tokens.values()))
        return {
            name: {
                "rows": count,
                "tokens": tokens[name],
                "share": tokens[name] / total,
                "epochs": self.sources[name].epoch(max(0, count - 1)),
            }
            for name, count in taken.items()
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
    if not has_text(shard):
        return
    packed = SourceRows(source, shard, length, seed=0)
    count = min(rows, packed.rows_per_epoch)
    numbers = [number * packed.rows_per_epoch // count for number in range(count)]
    for start in range(0, count, size):
        yield collate([packed.texts(number) for number in numbers[start : start + size]], length, pad)
