"""Packing and mixing: nothing lost, nothing twice, shares as asked, the same order after a restart."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.tokens.shards import Shards, ShardWriter, write_index
from herd.train.batches import (
    IGNORED,
    PADDING,
    LongFirst,
    Mixture,
    PackedRows,
    Piece,
    SourceRows,
    TokenBatches,
    cut,
    fill,
    held_out_batches,
)
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase


def shards(folder: Path, lengths: dict[str, list[int]]) -> Shards:
    """Every document is 1, 2, 3, ... so that targets can be told from inputs."""
    index = {}
    for name, sizes in lengths.items():
        index[name] = {}
        for split in ("train", "heldout"):
            writer = ShardWriter(folder, f"{name}.{split}", np.dtype(np.uint16))
            for size in sizes:
                writer.add(list(range(1, size + 1)), size)
            index[name][split] = writer.close()
    write_index(folder, 1000, 0, index)
    return Shards(folder)


@given(st.lists(st.integers(2, 60), min_size=1, max_size=30), st.integers(4, 32))
def test_cutting_and_filling_keep_every_token_once(lengths: list[int], length: int) -> None:
    cuts = cut(np.array(lengths), np.arange(len(lengths)), length)
    pieces, packed = [Piece(*one) for one in cuts.tolist()], PackedRows(cuts, length, np.random.default_rng(0))
    rows = [packed[number] for number in range(len(packed))]
    assert all(sum(piece.count for piece in row) <= length for row in rows)
    assert Counter(piece for row in rows for piece in row) == Counter(pieces)
    places = [(piece.document, at) for piece in pieces for at in range(piece.start, piece.start + piece.count)]
    assert sorted(places) == [(n, at) for n, size in enumerate(lengths) for at in range(size - 1)]


def test_rows_are_filled_where_they_fit_best() -> None:
    rows = fill([Piece(n, 0, size) for n, size in enumerate((6, 4, 5, 5))], 10)
    assert sorted(sum(piece.count for piece in row) for row in rows) == [10, 10]


def test_inputs_are_followed_by_their_targets(tmp_path: Path) -> None:
    batches = TokenBatches(
        shards(tmp_path, {"a": [5, 9, 30]}),
        (MixPhase(until=1.0, shares={"a": 1.0}),),
        BatchRamp((BatchPhase(until=1.0, batch_tokens=32),), 320, 16),
        seed=0,
        pad=0,
    )
    for step in range(len(batches)):
        batch = batches.batch(step)
        used = batch.documents_BT != PADDING
        assert (batch.targets_BT[used] == batch.tokens_BT[used] + 1).all()
        assert (batch.targets_BT[~used] == IGNORED).all()


@pytest.mark.row(34, "shares")
@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from("abcd"), st.floats(0.05, 1), min_size=1), st.floats(0.2, 0.8))
def test_shares_are_met_in_every_phase(shares: dict[str, float], change: float) -> None:
    second = dict.fromkeys("abcd", 0.25)
    rows = 8000
    mixture = Mixture((MixPhase(until=change, shares=shares), MixPhase(until=1.0, shares=second)), rows)
    edge = int(change * rows) // 1000 * 1000
    taken = Counter(mixture.source_of(row)[0] for row in range(edge))
    for name, share in shares.items():
        if edge:
            assert abs(taken[name] / edge - share / sum(shares.values())) < 0.005
    # Every source's own rows come in order, none twice but for the few that fill a block.
    seen = [row for row in map(mixture.source_of, range(rows)) if row[0] == min(shares)]
    assert len(set(seen)) >= len(seen) - 8 * 4


@pytest.mark.row(34, "shares")
def test_tokens_by_source_follow_the_schedule(tmp_path: Path, figure) -> None:
    made = TokenBatches(
        shards(tmp_path, {"a": [17] * 50, "b": [17] * 50}),
        (MixPhase(until=0.5, shares={"a": 0.7, "b": 0.3}), MixPhase(until=1.0, shares={"a": 0.2, "b": 0.8})),
        BatchRamp((BatchPhase(until=1.0, batch_tokens=160),), 16 * 8000, 16),
        seed=0,
        pad=0,
    )
    counts = Counter(made.mixture.source_of(row)[0] for row in range(8000))
    worst = max(abs(counts["a"] / 8000 - 0.45), abs(counts["b"] / 8000 - 0.55))
    figure(f"shares within {worst:.2%} of the schedule")
    assert worst < 0.005
    assert made.counts()["a"]["epochs"] > 0


def test_a_batch_is_the_same_whenever_it_is_asked_for(tmp_path: Path) -> None:
    def batches() -> TokenBatches:
        return TokenBatches(
            Shards(tmp_path),
            (MixPhase(until=1.0, shares={"a": 0.5, "b": 0.5}),),
            BatchRamp((BatchPhase(until=1.0, batch_tokens=64),), 3200, 16),
            seed=3,
            pad=0,
        )

    shards(tmp_path, {"a": [9, 12, 40], "b": [33, 5]})
    forward = [batches().batch(step).tokens_BT.tolist() for step in range(10)]
    one = batches()
    assert [one.batch(step).tokens_BT.tolist() for step in reversed(range(10))] == forward[::-1]


def test_every_epoch_reads_each_document_once(tmp_path: Path) -> None:
    rows = SourceRows("a", shards(tmp_path, {"a": [5, 6, 7, 8, 9]}).read("a"), 16, seed=0)
    count = rows.rows_per_epoch
    documents = [piece.document for number in range(count) for piece in rows.row(number)]
    assert sorted(documents) == [0, 1, 2, 3, 4]
    assert rows.epoch(count) == 1


def test_a_source_without_documents_and_an_unknown_one_are_told(tmp_path: Path) -> None:
    found = shards(tmp_path, {"a": [], "b": [5]})
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=16),), 160, 16)
    with pytest.raises(DataError, match="source 'a' holds no documents"):
        TokenBatches(found, (MixPhase(until=1.0, shares={"a": 1.0}),), ramp, 0, 0).batch(0)
    with pytest.raises(DataError, match="the mix names c; the tokens hold a, b"):
        TokenBatches(found, (MixPhase(until=1.0, shares={"c": 1.0}),), ramp, 0, 0)
    assert list(held_out_batches(found, "a", 16, 0, rows=4)) == []


def test_held_out_rows_lie_over_all_of_a_source(tmp_path: Path) -> None:
    found = shards(tmp_path, {"a": [9000] * 4})
    batches = list(held_out_batches(found, "a", 16, 0, rows=12, size=5))
    assert [len(batch.tokens_BT) for batch in batches] == [5, 5, 2]
    packed = SourceRows("a", found.read("a", "heldout"), 16, seed=0)
    spread = [packed.texts(number * packed.rows_per_epoch // 12)[0][0].tolist() for number in range(12)]
    assert [row.tolist() for batch in batches for row in batch.tokens_BT] == spread
    quarters = {piece.document for number in range(12) for piece in packed.row(number * packed.rows_per_epoch // 12)}
    assert len(quarters) > 2


def test_halves_of_a_batch_are_the_batch(tmp_path: Path) -> None:
    found = shards(tmp_path, {"a": [17] * 9})
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=48),), 480, 16)
    batch = TokenBatches(found, (MixPhase(until=1.0, shares={"a": 1.0}),), ramp, 0, 0).batch(0)
    first, second = batch.parts(2)
    assert first.weight + second.weight == batch.weight


@pytest.mark.row(36, "shares")
def test_long_documents_are_read_more_often_and_sources_keep_their_shares(tmp_path: Path, figure) -> None:
    """Fu et al. raise the share of long text in every source from about 30 to about 70 %."""
    # A third of the tokens of either source is in long documents.
    found = shards(tmp_path, {"a": [40] * 300 + [400] * 15, "b": [60] * 300 + [500] * 18})
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=4 * 512),), 512 * 2000, 512)
    mix = (MixPhase(until=1.0, shares={"a": 0.25, "b": 0.75}),)

    def shares(long_first: LongFirst | None) -> tuple[float, dict[str, float]]:
        batches = TokenBatches(found, mix, ramp, seed=0, pad=0, long_first=long_first)
        tokens: Counter[str] = Counter()
        rows: Counter[str] = Counter()
        long = 0
        for number in range(ramp.rows):
            name, row = batches.mixture.source_of(number)
            rows[name] += 1
            for inputs, _ in batches.sources[name].texts(row):
                tokens[name] += len(inputs)
                long += len(inputs) * (len(inputs) > 300)
        return long / sum(tokens.values()), {name: count / ramp.rows for name, count in rows.items()}

    before, plain = shares(None)
    after, kept = shares(LongFirst(longer_than=300, short_share=0.2))
    worst = max(abs(kept[name] - mix[0].shares[name]) for name in kept)
    figure(f"long text {before:.0%} of all before, {after:.0%} after; shares of sources off by {worst:.2%}")
    assert before == pytest.approx(0.33, abs=0.03)
    assert after == pytest.approx(0.70, abs=0.05)
    assert plain == kept
    assert worst < 0.01
