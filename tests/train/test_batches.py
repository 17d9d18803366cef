"""Packing and mixing: nothing lost, nothing twice, shares as asked, the same order after a restart."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from herd.core.errors import DataError, TrainingError
from herd.tokens.shards import ShardWriter, TokenShards, write_index
from herd.train.batches import IGNORE_INDEX, PADDING_DOCUMENT, PrefetchedBatches, TokenBatches, held_out_batches
from herd.train.rows import LengthUpsampling, SourceRows
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase


def shards(folder: Path, lengths: dict[str, list[int]]) -> TokenShards:
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
    return TokenShards(folder)


def test_inputs_are_followed_by_their_targets(tmp_path: Path) -> None:
    batches = TokenBatches(
        shards(tmp_path, {"a": [5, 9, 30]}),
        (MixPhase(until=1.0, mixture_weights={"a": 1.0}),),
        BatchRamp((BatchPhase(until=1.0, batch_tokens=32),), 320, 16),
        seed=0,
        pad=0,
    )
    for step in range(len(batches)):
        batch = batches.batch(step)
        used = batch.documents_BT != PADDING_DOCUMENT
        assert (batch.targets_BT[used] == batch.tokens_BT[used] + 1).all()
        assert (batch.targets_BT[~used] == IGNORE_INDEX).all()


def given_tokens(batches: TokenBatches) -> Counter[str]:
    """What every step gave, counted in the batches themselves."""
    tokens: Counter[str] = Counter()
    for step in range(len(batches)):
        batch = batches.batch(step)
        for name, count in zip(batch.sources, (batch.targets_BT != IGNORE_INDEX).sum(-1).tolist(), strict=True):
            tokens[name] += count
    return tokens


def schedule(mix: tuple[MixPhase, ...], done: float = 1.0) -> dict[str, float]:
    """What every source should have given, as a share of the run's tokens, when so much of the run is done."""
    found: dict[str, float] = {}
    start = 0.0
    for phase in mix:
        part = max(0.0, min(phase.until, done) - start)
        for name, share in phase.mixture_weights.items():
            found[name] = found.get(name, 0.0) + share * part
        start = phase.until
    return found


HALVES = (MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),)
CHANGING = (
    MixPhase(until=0.3, mixture_weights={"a": 0.7, "b": 0.3}),
    MixPhase(until=0.8, mixture_weights={"a": 0.2, "c": 0.8}),
    MixPhase(until=1.0, mixture_weights={"b": 1.0}),
)


@pytest.mark.row(34, "shares")
@pytest.mark.parametrize("mix", [HALVES, CHANGING])
@pytest.mark.parametrize(
    "lengths", [{"a": [11] * 50, "b": [17] * 50, "c": [6, 9, 40]}, {"a": [5], "b": [90, 12], "c": [17]}]
)
def test_shares_are_of_tokens(mix: tuple[MixPhase, ...], lengths: dict[str, list[int]], tmp_path: Path, figure) -> None:
    """Documents of 11 and of 17 tokens leave rows of 16 differently full; shares are met whatever a row holds."""
    ramp = BatchRamp((BatchPhase(until=0.5, batch_tokens=64), BatchPhase(until=1.0, batch_tokens=160)), 16 * 4000, 16)
    batches = TokenBatches(shards(tmp_path, lengths), mix, ramp, seed=0, pad=0)
    tokens, wanted = given_tokens(batches), schedule(mix)
    worst = max(abs(tokens[name] / tokens.total() - share) for name, share in wanted.items())
    figure(f"tokens by source within {worst:.2%} of the schedule")
    assert worst < 0.005
    counts = batches.counts()
    assert {name: row["tokens"] for name, row in counts.items()} == tokens
    assert sum(row["share"] for row in counts.values()) == pytest.approx(1)


def test_a_batch_is_the_same_whenever_it_is_asked_for(tmp_path: Path) -> None:
    def batches() -> TokenBatches:
        return TokenBatches(
            TokenShards(tmp_path),
            (MixPhase(until=1.0, mixture_weights={"a": 0.5, "b": 0.5}),),
            BatchRamp((BatchPhase(until=1.0, batch_tokens=64),), 3200, 16),
            seed=3,
            pad=0,
        )

    shards(tmp_path, {"a": [9, 12, 40], "b": [33, 5]})
    forward = [batches().batch(step).tokens_BT.tolist() for step in range(10)]
    one = batches()
    assert [one.batch(step).tokens_BT.tolist() for step in reversed(range(10))] == forward[::-1]


def test_a_source_without_documents_and_an_unknown_one_are_told(tmp_path: Path) -> None:
    found = shards(tmp_path, {"a": [], "b": [5]})
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=16),), 160, 16)
    with pytest.raises(DataError, match="source 'a' holds no documents"):
        TokenBatches(found, (MixPhase(until=1.0, mixture_weights={"a": 1.0}),), ramp, 0, 0).batch(0)
    with pytest.raises(DataError, match="the mix names c; the tokens hold a, b"):
        TokenBatches(found, (MixPhase(until=1.0, mixture_weights={"c": 1.0}),), ramp, 0, 0)
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
    batch = TokenBatches(found, (MixPhase(until=1.0, mixture_weights={"a": 1.0}),), ramp, 0, 0).batch(0)
    first, second = batch.parts(2)
    assert first.loss_denominator + second.loss_denominator == batch.loss_denominator


@pytest.mark.row(36, "shares")
def test_long_documents_are_read_more_often_and_sources_keep_their_shares(tmp_path: Path, figure) -> None:
    """Fu et al. raise the share of long text in every source from about 30 to about 70 %."""
    # A third of the tokens of either source is in long documents.
    found = shards(tmp_path, {"a": [40] * 300 + [400] * 15, "b": [60] * 300 + [500] * 18})
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=4 * 512),), 512 * 2000, 512)
    mix = (MixPhase(until=1.0, mixture_weights={"a": 0.25, "b": 0.75}),)

    def shares(long_first: LengthUpsampling | None) -> tuple[float, dict[str, float]]:
        batches = TokenBatches(found, mix, ramp, seed=0, pad=0, length_upsampling=long_first)
        tokens: Counter[str] = Counter()
        long = 0
        for number in range(ramp.rows):
            name, row = batches.stretch_of(0).mixture.source_of(number)
            for inputs, _ in batches.stretch_of(0).sources[name].texts(row):
                tokens[name] += len(inputs)
                long += len(inputs) * (len(inputs) > 300)
        return long / sum(tokens.values()), {name: count / tokens.total() for name, count in tokens.items()}

    before, plain = shares(None)
    after, kept = shares(LengthUpsampling(longer_than=300, short_share=0.2))
    worst = max(abs(own[name] - mix[0].mixture_weights[name]) for own in (plain, kept) for name in own)
    figure(f"long text {before:.0%} of all before, {after:.0%} after; shares of sources, in tokens, off by {worst:.2%}")
    assert before == pytest.approx(0.33, abs=0.03)
    assert after == pytest.approx(0.70, abs=0.05)
    assert worst < 0.01


# ---- ranks ----


def mixed(folder: Path) -> TokenBatches:
    found = (
        TokenShards(folder)
        if (folder / "shards.json").exists()
        else shards(folder, {"a": [9, 12, 40] * 9, "b": [33, 5]})
    )
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=6 * 16),), 6 * 16 * 12, 16)
    return TokenBatches(found, HALVES, ramp, seed=3, pad=0)


@pytest.mark.parametrize("ranks", [2, 3, 6])
def test_the_rows_of_all_ranks_are_the_batch(ranks: int, tmp_path: Path) -> None:
    whole = mixed(tmp_path)
    # Each in a process of its own.
    others = [mixed(tmp_path) for _ in range(ranks)]
    for step in range(len(whole)):
        batch = whole.batch(step)
        parts = [one.batch(step, rank, ranks) for rank, one in enumerate(others)]
        for name in ("tokens_BT", "targets_BT", "documents_BT"):
            assert torch.cat([getattr(part, name) for part in parts]).equal(getattr(batch, name))
        assert tuple(source for part in parts for source in part.sources) == batch.sources
        for part in parts:
            # What the loss is divided by and which kernel reads it must not depend on the rank.
            assert part.loss_denominator == batch.loss_denominator
            assert (part.attention_documents is None) == (batch.attention_documents is None)
            assert set(part.all_sources) == set(batch.sources)


def test_a_rank_reads_no_text_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    texts = SourceRows.texts
    monkeypatch.setattr(SourceRows, "texts", lambda self, number: read.append(number) or texts(self, number))
    batches = mixed(tmp_path)
    for step in range(4):
        batches.batch(step, rank=1, world_size=3)
    assert len(read) == 4 * 2


def test_rows_that_cannot_be_shared_out_are_told_with_the_number_to_take(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a batch of 6 rows cannot be divided by 4 data ranks; .* holds 8 rows"):
        mixed(tmp_path).batch(0, rank=0, world_size=4)


# ---- ahead ----


class Slow:
    """Batches that note who asks for them, and break at one."""

    def __init__(self, breaks_at: int = -1) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.threads: set[str] = set()
        self.breaks_at = breaks_at

    def __len__(self) -> int:
        return 5

    def batch(self, step: int, *rank: int) -> int:
        self.asked.append((step, *rank))
        self.threads.add(threading.current_thread().name)
        if step == self.breaks_at:
            raise DataError("the disk is gone; bring it back")
        return 10 * step


def test_one_batch_is_prepared_ahead_and_each_once() -> None:
    slow = Slow()
    ahead = PrefetchedBatches(slow)
    assert [ahead.batch(step, 1, 2) for step in range(5)] == [0, 10, 20, 30, 40]
    ahead.close()
    assert slow.asked == [(step, 1, 2) for step in range(5)]
    assert len(slow.threads) == 1
    assert "MainThread" not in slow.threads


def test_what_was_not_foreseen_is_prepared_when_it_is_asked_for() -> None:
    ahead = PrefetchedBatches(Slow())
    assert [ahead.batch(step) for step in (3, 1, 2, 2, 0)] == [30, 10, 20, 20, 0]
    ahead.close()


def test_a_fault_ahead_is_raised_where_its_batch_is_asked_for_and_closing_hides_none() -> None:
    ahead = PrefetchedBatches(Slow(breaks_at=2))
    assert [ahead.batch(step) for step in (0, 1)] == [0, 10]
    with pytest.raises(DataError, match="the disk is gone"):
        ahead.batch(2)
    ahead.close()
    unread = PrefetchedBatches(Slow(breaks_at=1))
    assert unread.batch(0) == 0
    unread.close()


def test_a_program_that_ends_without_closing_ends() -> None:
    code = (
        "from tests.train.test_batches import PrefetchedBatches, Slow\n"
        "ahead = PrefetchedBatches(Slow())\nprint(ahead.batch(0))\nraise SystemExit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout) == (3, "0\n")


def test_batches_prepared_ahead_are_the_batches(tmp_path: Path) -> None:
    plain, ahead = mixed(tmp_path), PrefetchedBatches(mixed(tmp_path))
    for step in range(len(plain)):
        assert ahead.batch(step).tokens_BT.equal(plain.batch(step).tokens_BT)
    ahead.close()


def test_rows_of_two_lengths_keep_their_shares_and_are_the_same_after_a_restart(tmp_path: Path) -> None:
    found = shards(tmp_path, {"a": [40] * 60, "b": [90] * 60})
    phases = (
        BatchPhase(until=0.25, batch_tokens=8 * 32, length=32),
        BatchPhase(until=1.0, batch_tokens=8 * 64),
    )
    ramp = BatchRamp(phases, 16 * 8 * 64, 64)
    mix = (MixPhase(until=0.5, mixture_weights={"a": 1.0}), MixPhase(until=1.0, mixture_weights={"b": 1.0}))
    batches = TokenBatches(found, mix, ramp, seed=0, pad=0)
    read = [batches.batch(step) for step in range(len(batches))]
    assert [batch.tokens_BT.shape for batch in read] == [(8, 32)] * 8 + [(8, 64)] * 12
    again = TokenBatches(found, mix, ramp, seed=0, pad=0)
    for step in (19, 8, 7, 0):
        assert torch.equal(again.batch(step).tokens_BT, read[step].tokens_BT)
    tokens = sum((Counter(dict.fromkeys(batch.sources, 1)) for batch in read), Counter())
    assert set(tokens) == {"a", "b"}
    counts = batches.counts()
    assert sum(row["rows"] for row in counts.values()) == ramp.rows
    targets = sum(int((batch.targets_BT != IGNORE_INDEX).sum()) for batch in read)
    assert sum(row["tokens"] for row in counts.values()) == targets
    assert counts["a"]["share"] == pytest.approx(0.5, abs=0.05)
    assert "b" not in {name for batch in read[:10] for name in batch.sources}
    halves = [batches.batch(3, rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([half.tokens_BT for half in halves]), read[3].tokens_BT)
    assert batches.counts(8)["a"]["rows"] == 64
