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
from herd.core.settings import Positive, Share, settings
from herd.tokens.shards import Shard

WINDOW = 256  # pieces packed together: large enough to fill rows, small enough to stay shuffled
_BLOCK = 16 * WINDOW  # pieces in memory at once, and packed again at once
_BLOCKS, _EPOCHS = 4, 2  # that are held, of a source


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


def cut(
    lengths: NDArray[np.int64], documents: NDArray[np.integer], length: int, some: slice = slice(None)
) -> NDArray[np.void]:
    """Documents in order as pieces of at most `length` inputs: an array of `_PIECE`. A document's last id is only a
    target. lengths: of each of `documents`. some: of all pieces, only these."""
    inputs = np.maximum(lengths - 1, 0)
    ends = np.cumsum(-(-inputs // length))
    numbers = np.arange(int(ends[-1]) if len(ends) else 0)[some]
    owner = np.searchsorted(ends, numbers, side="right")
    pieces = np.empty(len(numbers), _PIECE)
    pieces["document"] = documents[owner]
    first = ends[owner] - (-(-inputs[owner] // length))
    pieces["start"] = (numbers - first) * length
    pieces["count"] = np.minimum(length, inputs[owner] - pieces["start"])
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
    """Some pieces as rows, packed a window at a time, in an order drawn from `chance`, and kept as numbers."""

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
        if not len(self):
            return np.empty(0, np.int64)
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


class Column:
    """Numbers that are added to at the end, now and then."""

    def __init__(self, dtype: type[np.generic]) -> None:
        self._held = np.empty(1024, dtype)
        self._count = 0

    def extend(self, values: NDArray[Any]) -> None:
        count = self._count + len(values)
        if count > len(self._held):
            held = np.empty(max(count, 3 * len(self._held) // 2), self._held.dtype)
            held[: self._count] = self.values
            self._held = held
        self._held[self._count : count] = values
        self._count = count

    @property
    def values(self) -> NDArray[Any]:
        return self._held[: self._count]

    def __len__(self) -> int:
        return self._count


@dataclass(frozen=True)
class _Mark:
    """Where packing stands. document: the place in the epoch's order, of which so many pieces are packed. chance: the
    state of the random numbers; None where the epoch begins."""

    epoch: int
    document: int = 0
    pieces: int = 0
    chance: Any = None


class SourceRows:
    """The rows of one source at one length, epoch after epoch, each epoch in an order of its own."""

    def __init__(self, name: str, shard: Shard, length: int, seed: int, long_first: LongFirst | None = None) -> None:
        if not has_text(shard):
            raise DataError(f"source {name!r} holds no documents; take it out of the mix or give it some")
        self.name, self.shard, self.length, self.seed, self.long_first = name, shard, length, seed, long_first
        # Of each block its first row, and where packing stood before it; a block is packed again from there.
        self._firsts: list[int] = []
        self._marks: list[_Mark] = []
        self._next = _Mark(0)
        self._epochs: list[int] = []  # rows up to the end of each epoch that was packed to its end
        # Up to the end of each row so far, and to its middle: tokens.
        self._tokens, self._middles = Column(np.int64), Column(np.float64)
        self._blocks: OrderedDict[int, PackedRows] = OrderedDict()
        self._orders: OrderedDict[int, tuple[NDArray[np.integer], Any]] = OrderedDict()

    def row(self, number: int) -> Row:
        while number >= len(self._tokens):
            self._pack_on()
        block = bisect.bisect_right(self._firsts, number) - 1
        return self._block(block)[number - self._firsts[block]]

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
        while not len(self._middles) or self._middles.values[-1] <= tokens:
            self._pack_on()
        return self._middles.values

    def tokens(self, rows: int) -> int:
        """In the first `rows` rows: inputs, each with a target."""
        while rows > len(self._tokens):
            self._pack_on()
        return int(self._tokens.values[rows - 1]) if rows else 0

    @property
    def rows_per_epoch(self) -> int:
        """Rows of the first epoch; later ones may pack a little differently."""
        while not self._epochs:
            self._pack_on()
        return self._epochs[0]

    def epoch(self, number: int) -> int:
        """How many times the source was read in full before row `number`."""
        while number >= len(self._tokens):
            self._pack_on()
        return bisect.bisect_right(self._epochs, number)

    # ---- packing ----

    def _pack_on(self) -> None:
        """Packs the block that comes next."""
        mark = self._next
        rows, self._next = self._pack(mark)
        if len(rows):
            self._hold(len(self._marks), rows)
            self._firsts.append(len(self._tokens))
            self._marks.append(mark)
            tokens = rows.tokens
            ends = tokens.cumsum() + (self._tokens.values[-1] if len(self._tokens) else 0)
            self._tokens.extend(ends)
            self._middles.extend(ends - tokens / 2)
        if self._next.epoch > mark.epoch:
            self._epochs.append(len(self._tokens))

    def _block(self, number: int) -> PackedRows:
        if number not in self._blocks:
            self._hold(number, self._pack(self._marks[number])[0])
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _hold(self, number: int, rows: PackedRows) -> None:
        self._blocks[number] = rows
        if len(self._blocks) > _BLOCKS:
            self._blocks.popitem(last=False)

    def _pack(self, mark: _Mark) -> tuple[PackedRows, _Mark]:
        """A block from `mark` on, and where the next one begins: perhaps with a new epoch."""
        order, begun = self._order(mark.epoch)
        chance = generator(self.seed, self.name, self.length, mark.epoch)
        chance.bit_generator.state = begun if mark.chance is None else mark.chance
        documents = order[mark.document : mark.document]
        ends = np.empty(0, np.int64)
        most = mark.pieces + _BLOCK
        while (not len(ends) or ends[-1] < most) and mark.document + len(documents) < len(order):
            documents = order[mark.document : mark.document + max(_BLOCK, 2 * len(documents))]
            lengths = self.shard.lengths_of(documents)
            ends = np.cumsum(-(-np.maximum(lengths - 1, 0) // self.length))
        # Of the documents only those that the block's pieces are of.
        used = int(np.searchsorted(ends, most, side="left")) + 1
        pieces = cut(lengths[:used], documents[:used], self.length, slice(mark.pieces, most))
        rows = PackedRows(pieces, self.length, chance)
        if ends[-1] <= most and mark.document + len(documents) == len(order):
            return rows, _Mark(mark.epoch + 1)
        done = int(np.searchsorted(ends, most, side="right"))
        before = int(ends[done - 1]) if done else 0
        return rows, _Mark(mark.epoch, mark.document + done, most - before, chance.bit_generator.state)

    def _order(self, epoch: int) -> tuple[NDArray[np.integer], Any]:
        """The documents of an epoch, in its order, and the state of the random numbers behind them."""
        if epoch not in self._orders:
            chance = generator(self.seed, self.name, self.length, epoch)
            order = self._read(chance)
            small = order.astype(np.int32) if len(self.shard) < 2**31 else order
            self._orders[epoch] = small, chance.bit_generator.state
            if len(self._orders) > _EPOCHS:
                self._orders.popitem(last=False)
        self._orders.move_to_end(epoch)
        return self._orders[epoch]

    def _read(self, chance: np.random.Generator) -> NDArray[np.int64]:
        order = chance.permutation(len(self.shard))
        if self.long_first is None:
            return order
        lengths = self.shard.lengths_of(order)
        kept = (lengths >= self.long_first.longer_than) | (chance.random(len(order)) < self.long_first.short_share)
        return order[kept] if kept.any() and lengths[kept].max() > 1 else order


def generator(seed: int, *names: object) -> np.random.Generator:
    """Random numbers of their own for everything called by `names`."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
