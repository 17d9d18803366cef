"""Losses on held-out text are those of the plain way, whatever the threads, and mixes weigh them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.core.artifacts import Tokenizer
from herd.core.errors import DataError
from herd.core.records import Document
from herd.evals.losses import _at_once, held_out_losses, held_out_means, weighted_loss
from herd.tokens.shards import TokenShards
from herd.tokens.stages import pack
from herd.train.results import HeldOutLoss
from tests.imported import corpus, work
from tests.model.test_transformer import SMALL, model
from tests.tokens.test_chat import TOKENIZER

NETWORK = model(replace(SMALL, vocab_size=TOKENIZER.vocab_size, max_seq_len=64))


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    """Of `one` and `two` a part is held out, of `three` nothing."""
    folder = tmp_path_factory.mktemp("packed")
    (folder / "tokenizer").mkdir()
    TOKENIZER.save(folder / "tokenizer", 0)
    texts = [f"The boat on the river is number {n}, and the cat sees {n * n} of them." for n in range(24)]
    documents = [Document(id=f"{n}", text=text, source=("one", "two")[n % 2]) for n, text in enumerate(texts)]
    made = pack.body(
        work(folder / "packed"),
        corpus(folder / "corpus", documents),
        Tokenizer(folder / "tokenizer"),
        held_out_share=0.5,
    )
    return TokenShards(made.path)


def nats_of(shards: TokenShards, source: str) -> tuple[float, int]:
    """The plain way: every held-out document for itself, each token from those before it."""
    shard, nats, count = shards.read(source, "heldout"), 0.0, 0
    for number in range(len(shard)):
        ids = torch.tensor(shard.document(number).astype(int))
        with torch.inference_mode():
            logits = NETWORK(ids[None, :-1])[0]
        nats += float(torch.nn.functional.cross_entropy(logits.float(), ids[1:], reduction="sum"))
        count += len(ids) - 1
    return nats, count


def test_the_loss_of_a_source_is_that_of_all_its_held_out_tokens(shards: TokenShards) -> None:
    found = held_out_losses(NETWORK, shards, length=64, tokens=100_000)
    assert list(found) == ["one", "two"]
    for source, loss in found.items():
        nats, count = nats_of(shards, source)
        assert loss.tokens == count
        assert loss.nats_per_token == pytest.approx(nats / count, abs=1e-4)
        assert loss.bits_per_byte == pytest.approx(
            nats / math.log(2) / shards.read(source, "heldout").text_bytes, abs=1e-4
        )


def test_threads_change_nothing_and_sources_may_be_named(shards: TokenShards) -> None:
    whole = held_out_losses(NETWORK, shards, length=32, tokens=2000)
    assert held_out_losses(NETWORK, shards, length=32, tokens=2000, workers=3) == whole
    assert held_out_losses(NETWORK, shards, length=32, tokens=2000, sources=("two", "absent")) == {"two": whole["two"]}


def test_means_lie_in_their_intervals_and_one_row_has_none(shards: TokenShards) -> None:
    how = {"length": 32, "sources": ("one", "two", "absent")}
    many, whole = (
        held_out_means(NETWORK, shards, tokens=2000, **how),
        held_out_losses(NETWORK, shards, length=32, tokens=2000),
    )
    assert list(many) == ["one", "two"]
    for source, interval in many.items():
        assert interval.low < interval.value < interval.high
        assert interval.value == pytest.approx(whole[source].nats_per_token, abs=1e-4)
    (single,) = held_out_means(NETWORK, shards, length=32, tokens=32, sources=("one",)).values()
    assert single.low == single.value == single.high
    assert held_out_means(NETWORK, shards, tokens=2000, workers=3, **how) == many


def test_a_loss_has_the_interval_of_its_rows_and_at_most_64_sums_of_them(shards: TokenShards) -> None:
    means = held_out_means(NETWORK, shards, length=32, tokens=2000, sources=("one", "two"))
    for source, loss in held_out_losses(NETWORK, shards, length=32, tokens=2000).items():
        assert (loss.low, loss.high) == means[source][1:]
        assert sum(loss.row_tokens) == loss.tokens
        assert sum(loss.row_nats) == pytest.approx(loss.nats_per_token * loss.tokens, rel=1e-5)
    many = held_out_losses(NETWORK, shards, length=2, tokens=100_000)["one"]
    assert len(many.row_nats) == len(many.row_tokens) == 64
    assert sum(many.row_tokens) == many.tokens > 128
    assert max(many.row_tokens) - min(many.row_tokens) <= 4
    single = held_out_losses(NETWORK, shards, length=32, tokens=32, sources=("one",))["one"]
    assert (single.low, single.high, len(single.row_nats)) == (None, None, 1)


def test_a_mix_weighs_the_sources_that_were_measured() -> None:
    losses = {source: HeldOutLoss(nats, nats, 1) for source, nats in (("a", 2.0), ("b", 4.0), ("c", 9.0))}
    assert weighted_loss(losses, {"a": 0.5, "b": 0.25, "absent": 0.25}) == pytest.approx((2 * 0.5 + 4 * 0.25) / 0.75)
    assert weighted_loss(losses, {"a": 1.0, "c": 0.0}) == 2.0
    for found, shares in (({}, {"a": 1.0}), (losses, {"c": 0.0, "absent": 1.0})):
        with pytest.raises(DataError, match="no loss was measured of .*; raise held_out_share or add documents"):
            weighted_loss(found, shares)


@given(st.integers(1, 16), st.integers(1, 200_000))
def test_of_long_rows_a_gpu_reads_fewer_at_once(rows: int, length: int) -> None:
    assert _at_once(rows, length, torch.device("cpu")) == rows
    found = _at_once(rows, length, torch.device("cuda"))
    assert 1 <= found <= rows
    assert found == 1 or found * length <= 32_768
