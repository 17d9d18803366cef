"""Rows of a source: nothing lost, nothing twice, and the same ones however they are asked for."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.tokens.shards import TokenShard
from herd.train import rows as rows_module
from herd.train.rows import (
    DocumentSpan,
    LengthUpsampling,
    PackedRows,
    SourceRows,
    named_rng,
    pack_best_fit,
    split_documents,
)
from tests.train.test_batches import shards


@given(st.lists(st.integers(2, 60), min_size=1, max_size=30), st.integers(4, 32))
def test_cutting_and_filling_keep_every_token_once(lengths: list[int], length: int) -> None:
    cuts = split_documents(np.array(lengths), np.arange(len(lengths)), length)
    pieces, packed = [DocumentSpan(*one) for one in cuts.tolist()], PackedRows(cuts, length, np.random.default_rng(0))
    rows = [packed[number] for number in range(len(packed))]
    assert all(sum(piece.count for piece in row) <= length for row in rows)
    assert Counter(piece for row in rows for piece in row) == Counter(pieces)
    places = [(piece.document, at) for piece in pieces for at in range(piece.start, piece.start + piece.count)]
    assert sorted(places) == [(n, at) for n, size in enumerate(lengths) for at in range(size - 1)]


def test_rows_are_filled_where_they_fit_best() -> None:
    rows = pack_best_fit([DocumentSpan(n, 0, size) for n, size in enumerate((6, 4, 5, 5))], 10)
    assert sorted(sum(piece.count for piece in row) for row in rows) == [10, 10]


def test_every_epoch_reads_each_document_once(tmp_path: Path) -> None:
    rows = SourceRows("a", shards(tmp_path, {"a": [5, 6, 7, 8, 9]}).read("a"), 16, seed=0)
    count = rows.rows_per_epoch
    documents = [piece.document for number in range(count) for piece in rows.row(number)]
    assert sorted(documents) == [0, 1, 2, 3, 4]
    assert rows.epoch(count) == 1


def shard(sizes: list[int] | np.ndarray) -> TokenShard:
    ends = np.cumsum(sizes)
    return TokenShard(np.broadcast_to(np.uint16(1), (int(ends[-1]),)), ends, 0)


def at_once(source: SourceRows, epoch: int) -> list[tuple[DocumentSpan, ...]]:
    """The rows of an epoch, all packed together as they stand in the random numbers."""
    chance = named_rng(source.seed, source.name, source.length, epoch)
    order = source._epoch_documents(chance)
    packed = PackedRows(split_documents(source.shard.lengths[order], order, source.length), source.length, chance)
    return [packed[number] for number in range(len(packed))]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 90), min_size=1, max_size=40).filter(lambda sizes: max(sizes) > 1), st.booleans())
def test_rows_packed_block_by_block_are_those_packed_at_once(sizes: list[int], long_first: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "WINDOW", 3)
        patch.setattr(rows_module, "_BLOCK", 6)
        chosen = LengthUpsampling(longer_than=40, short_share=0.5) if long_first else None
        source = SourceRows("a", shard(sizes), 16, 5, chosen)
        epochs = [at_once(source, epoch) for epoch in range(3)]
        wanted = [row for epoch in epochs for row in epoch]
        assert [source.row(number) for number in range(len(wanted))] == wanted
        # One that begins late, goes back, and holds few blocks, says the same.
        again = SourceRows("a", shard(sizes), 16, 5, chosen)
        for number in (len(wanted) - 1, 0, len(wanted) // 2, *range(len(wanted))):
            assert again.row(number) == wanted[number]
        assert again.rows_per_epoch == len(epochs[0])
        assert [again.epoch(number) for number in (0, len(epochs[0]) - 1, len(epochs[0]))] == [0, 0, 1]
        tokens = np.cumsum([sum(piece.count for piece in row) for row in wanted])
        assert [again.tokens(number + 1) for number in range(len(wanted))] == tokens.tolist()
        assert again.tokens(0) == 0


def test_cutting_some_pieces_is_cutting_all_of_them() -> None:
    lengths, documents = np.array([1, 40, 0, 17, 16, 33]), np.array([5, 0, 3, 1, 2, 4])
    whole = split_documents(lengths, documents, 16)
    assert len(whole) == 3 + 1 + 1 + 2
    for start in range(len(whole)):
        assert (
            split_documents(lengths, documents, 16, slice(start, start + 2)).tolist()
            == whole[start : start + 2].tolist()
        )


def test_memory_does_not_grow_with_what_was_packed() -> None:
    """Ten numbers a piece, as all pieces of all epochs would take, are 6 MB here."""
    source = SourceRows("a", shard(np.full(20_000, 120)), 1024, 0)
    source.row(0)
    tracemalloc.start()
    for number in range(0, 10_000, 50):
        source.row(number)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert source.epoch(9_999) >= 3
    assert held < 1_500_000
