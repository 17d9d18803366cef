"""Which documents lie in which row of a source: numbers only, no text is read.

Rows are packed a window of pieces at a time as they are asked for, always in the same order. What stays in memory is
two numbers a row and one a document; of the pieces, only those packed last.
"""

from __future__ import annotations

import bisect
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import DataError
from herd.core.settings import PositiveInt, Share, settings
from herd.tokens.shards import TokenShard

WINDOW = 256  # pieces packed together: large enough to fill rows, small enough to stay shuffled
_BLOCK = 16 * WINDOW  # pieces in memory at once, and packed again at once
_BLOCKS, _EPOCHS = 4, 2  # that are held, of a source


@dataclass(frozen=True, slots=True)
class DocumentSpan:
    """Part of a document: `count` inputs from `start`, each with the id after it as target."""

    document: int
    start: int
    count: int


PackedRow = tuple[DocumentSpan, ...]
InputsTargets = tuple[NDArray[np.integer], NDArray[np.integer]]  # inputs and targets


def row_length(row: PackedRow) -> int:
    """How many inputs a row holds, of all its documents."""
    return sum(span.count for span in row)


# A piece among many: 16 bytes, where the object takes some 200.
_SPAN = np.dtype([("document", np.int64), ("start", np.int32), ("count", np.int32)])


def split_documents(
    lengths: NDArray[np.int64], documents: NDArray[np.integer], length: int, selection: slice = slice(None)
) -> NDArray[np.void]:
    """Documents in order as pieces of at most `length` inputs: an array of `_SPAN`. A document's last id is only a
    target. lengths: of each of `documents`. selection: of all pieces, only these."""
    inputs = np.maximum(lengths - 1, 0)
    ends = np.cumsum(-(-inputs // length))
    numbers = np.arange(int(ends[-1]) if len(ends) else 0)[selection]
    owner = np.searchsorted(ends, numbers, side="right")
    spans = np.empty(len(numbers), _SPAN)
    spans["document"] = documents[owner]
    first = ends[owner] - (-(-inputs[owner] // length))
    spans["start"] = (numbers - first) * length
    spans["count"] = np.minimum(length, inputs[owner] - spans["start"])
    return spans


def pack_best_fit(spans: Sequence[DocumentSpan], length: int) -> list[PackedRow]:
    """Pieces put into rows of `length`, each into the fullest row that has room; none is cut.

    Source: best-fit packing, Ding et al. 2024 (Fewer Truncations Improve Language Modeling).
    """
    rows: list[list[DocumentSpan]] = []
    room: list[tuple[int, int]] = []  # (places left, number of the row), in order
    for span in sorted(spans, key=lambda span: -span.count):
        at = bisect.bisect_left(room, (span.count, -1))
        if at == len(room):
            rows.append([span])
            space, number = length - span.count, len(rows) - 1
        else:
            space, number = room.pop(at)
            rows[number].append(span)
            space -= span.count
        if space:
            bisect.insort(room, (space, number))
    return [tuple(row) for row in rows]


class PackedRows:
    """Some pieces as rows, packed a window at a time, in an order drawn from `rng`, and kept as numbers."""

    def __init__(self, spans: NDArray[np.void], length: int, rng: np.random.Generator) -> None:
        self._spans = np.empty_like(spans)
        counts: list[int] = []
        at = 0
        for start in range(0, len(spans), WINDOW):
            rows = pack_best_fit([DocumentSpan(*fields) for fields in spans[start : start + WINDOW].tolist()], length)
            for number in rng.permutation(len(rows)):
                row = rows[number]
                self._spans[at : at + len(row)] = [(span.document, span.start, span.count) for span in row]
                at += len(row)
                counts.append(len(row))
        self._ends = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Of every row."""
        if not len(self):
            return np.empty(0, np.int64)
        return np.add.reduceat(self._spans["count"], self._ends[:-1], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, number: int) -> PackedRow:
        return tuple(
            DocumentSpan(*fields) for fields in self._spans[self._ends[number] : self._ends[number + 1]].tolist()
        )


@settings
class LengthUpsampling:
    """Of every source's documents below `longer_than` tokens only `short_share` is read each epoch, drawn anew, so that
    long ones make up more of every source while the sources keep their shares.

    Source: Fu et al. 2024 (Data Engineering for Scaling Language Models to 128K Context), section 3; 0.2 and 4,096 are
    their code's.
    """

    longer_than: PositiveInt = 4096
    short_share: Share = 0.2


def has_text(shard: TokenShard) -> bool:
    """Whether any document has a token and one after it."""
    return len(shard) > 0 and int(shard.lengths.max()) > 1


class GrowingArray:
    """Numbers that are added to at the end, now and then."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._buffer = np.empty(1024, dtype)
        self._count = 0

    def extend(self, values: NDArray[Any]) -> None:
        count = self._count + len(values)
        if count > len(self._buffer):
            buffer = np.empty(max(count, 3 * len(self._buffer) // 2), self._buffer.dtype)
            buffer[: self._count] = self.values
            self._buffer = buffer
        self._buffer[self._count : count] = values
        self._count = count

    @property
    def values(self) -> NDArray[Any]:
        return self._buffer[: self._count]

    def __len__(self) -> int:
        return self._count


@dataclass(frozen=True)
class _PackingState:
    """Where packing stands. document: the place in the epoch's order, of which so many pieces are packed. rng_state:
    the state of the random numbers; None where the epoch begins."""

    epoch: int
    document: int = 0
    spans: int = 0
    rng_state: Any = None


class SourceRows:
    """The rows of one source at one length, epoch after epoch, each epoch in an order of its own."""

    def __init__(
        self, name: str, shard: TokenShard, length: int, seed: int, length_upsampling: LengthUpsampling | None = None
    ) -> None:
        if not has_text(shard):
            raise DataError(f"source {name!r} holds no documents; take it out of the mix or give it some")
        self.name, self.shard, self.length, self.seed, self.length_upsampling = (
            name,
            shard,
            length,
            seed,
            length_upsampling,
        )
        # Of each block its first row, and where packing stood before it; a block is packed again from there.
        self._firsts: list[int] = []
        self._marks: list[_PackingState] = []
        self._next = _PackingState(0)
        self._epochs: list[int] = []  # rows up to the end of each epoch that was packed to its end
        # Up to the end of each row so far, and to its middle: tokens.
        self._tokens, self._midpoints = GrowingArray(np.int64), GrowingArray(np.float64)
        self._blocks: OrderedDict[int, PackedRows] = OrderedDict()
        self._orders: OrderedDict[int, tuple[NDArray[np.integer], Any]] = OrderedDict()

    def row(self, number: int) -> PackedRow:
        while number >= len(self._tokens):
            self._pack_next()
        block = bisect.bisect_right(self._firsts, number) - 1
        return self._block(block)[number - self._firsts[block]]

    def texts(self, number: int) -> list[InputsTargets]:
        """Inputs and targets of every piece in a row."""
        return [self.text(span) for span in self.row(number)]

    def text(self, span: DocumentSpan) -> InputsTargets:
        """Inputs and targets of a piece."""
        ids = self.shard.document(span.document)[span.start : span.start + span.count + 1]
        return ids[:-1], ids[1:]

    def midpoints(self, tokens: float) -> NDArray[np.float64]:
        """How many of the source's tokens lie before the middle of each row, of all rows whose middle lies before
        `tokens` and of one more at least."""
        while not len(self._midpoints) or self._midpoints.values[-1] <= tokens:
            self._pack_next()
        return self._midpoints.values

    def tokens(self, rows: int) -> int:
        """In the first `rows` rows: inputs, each with a target."""
        while rows > len(self._tokens):
            self._pack_next()
        return int(self._tokens.values[rows - 1]) if rows else 0

    @property
    def rows_per_epoch(self) -> int:
        """Rows of the first epoch; later ones may pack a little differently."""
        while not self._epochs:
            self._pack_next()
        return self._epochs[0]

    def epoch(self, number: int) -> int:
        """How many times the source was read in full before row `number`."""
        while number >= len(self._tokens):
            self._pack_next()
        return bisect.bisect_right(self._epochs, number)

    # ---- packing ----

    def _pack_next(self) -> None:
        """Packs the block that comes next."""
        mark = self._next
        rows, self._next = self._pack(mark)
        if len(rows):
            self._cache(len(self._marks), rows)
            self._firsts.append(len(self._tokens))
            self._marks.append(mark)
            tokens = rows.tokens
            ends = tokens.cumsum() + (self._tokens.values[-1] if len(self._tokens) else 0)
            self._tokens.extend(ends)
            self._midpoints.extend(ends - tokens / 2)
        if self._next.epoch > mark.epoch:
            self._epochs.append(len(self._tokens))

    def _block(self, number: int) -> PackedRows:
        if number not in self._blocks:
            self._cache(number, self._pack(self._marks[number])[0])
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _cache(self, number: int, rows: PackedRows) -> None:
        self._blocks[number] = rows
        if len(self._blocks) > _BLOCKS:
            self._blocks.popitem(last=False)

    def _pack(self, mark: _PackingState) -> tuple[PackedRows, _PackingState]:
        """A block from `mark` on, and where the next one begins: perhaps with a new epoch."""
        order, rng_state = self._order(mark.epoch)
        rng = named_rng(self.seed, self.name, self.length, mark.epoch)
        rng.bit_generator.state = rng_state if mark.rng_state is None else mark.rng_state
        documents = order[mark.document : mark.document]
        ends = np.empty(0, np.int64)
        block_end = mark.spans + _BLOCK
        while (not len(ends) or ends[-1] < block_end) and mark.document + len(documents) < len(order):
            documents = order[mark.document : mark.document + max(_BLOCK, 2 * len(documents))]
            lengths = self.shard.lengths_of(documents)
            ends = np.cumsum(-(-np.maximum(lengths - 1, 0) // self.length))
        # Of the documents only those that the block's pieces are of.
        num_documents = int(np.searchsorted(ends, block_end, side="left")) + 1
        spans = split_documents(
            lengths[:num_documents], documents[:num_documents], self.length, slice(mark.spans, block_end)
        )
        rows = PackedRows(spans, self.length, rng)
        if ends[-1] <= block_end and mark.document + len(documents) == len(order):
            return rows, _PackingState(mark.epoch + 1)
        num_finished = int(np.searchsorted(ends, block_end, side="right"))
        before = int(ends[num_finished - 1]) if num_finished else 0
        return rows, _PackingState(
            mark.epoch, mark.document + num_finished, block_end - before, rng.bit_generator.state
        )

    def _order(self, epoch: int) -> tuple[NDArray[np.integer], Any]:
        """The documents of an epoch, in its order, and the state of the random numbers behind them."""
        if epoch not in self._orders:
            rng = named_rng(self.seed, self.name, self.length, epoch)
            order = self._epoch_documents(rng)
            small = order.astype(np.int32) if len(self.shard) < 2**31 else order
            self._orders[epoch] = small, rng.bit_generator.state
            if len(self._orders) > _EPOCHS:
                self._orders.popitem(last=False)
        self._orders.move_to_end(epoch)
        return self._orders[epoch]

    def _epoch_documents(self, rng: np.random.Generator) -> NDArray[np.int64]:
        order = rng.permutation(len(self.shard))
        if self.length_upsampling is None:
            return order
        lengths = self.shard.lengths_of(order)
        is_read = (lengths >= self.length_upsampling.longer_than) | (
            rng.random(len(order)) < self.length_upsampling.short_share
        )
        return order[is_read] if is_read.any() and lengths[is_read].max() > 1 else order


def named_rng(seed: int, *names: object) -> np.random.Generator:
    """Random numbers of their own for everything called by `names`."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
