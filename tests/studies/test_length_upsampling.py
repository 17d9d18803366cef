"""Row 36: length upsampling and the balance of domains, two by two (Fu et al. 2024, section 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from herd.model.sizes import Size
from herd.model.transformer import Transformer, initialize
from herd.run.executors import LocalExecutor
from herd.tokens.shards import ShardWriter, TokenShards, write_index
from herd.train.batches import IGNORE_INDEX, Batch, TokenBatches, collate
from herd.train.checkpoint import TrainState
from herd.train.loop import single_device, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.rows import LengthUpsampling
from herd.train.schedule import BatchPhase, BatchRamp, MixPhase, lr_schedule

SHORT, LONG = 64, 192  # tokens of a document
RULE = LengthUpsampling(longer_than=128, short_share=0.2)
LETTERS = 24  # of a domain; no two domains share one
# Tokens of either domain, and the part of them in long documents: together 34 %.
TOKENS = {"books": (100_000, 0.6), "web": (300_000, 0.25)}
BALANCED = {"books": 0.25, "web": 0.75}
BASE_STEPS, STEPS = 500, 400
SIZE = Size(dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=160)


def document(chance: np.random.Generator, domain: str, size: int) -> list[int]:
    """Letters of a domain, of which the second half repeats the first: what is to be told stands half a document
    before."""
    half = 1 + sorted(TOKENS).index(domain) * LETTERS + chance.integers(0, LETTERS, size // 2)
    return [*half.tolist(), *half.tolist()]


def written(folder: Path) -> TokenShards:
    folder.mkdir()
    chance, index = np.random.default_rng(0), {}
    for domain, (tokens, part) in TOKENS.items():
        sizes = [SHORT] * round(tokens * (1 - part) / SHORT) + [LONG] * round(tokens * part / LONG)
        index[domain] = {}
        for split, some in (("train", sizes), ("heldout", [SHORT, LONG] * 8)):
            writer = ShardWriter(folder, f"{domain}.{split}", np.dtype(np.uint16))
            for size in chance.permutation(some).tolist():
                writer.add(document(chance, domain, size), size)
            index[domain][split] = writer.close()
    write_index(folder, 1 + LETTERS * len(TOKENS), 0, index)
    return TokenShards(folder)


def shifted() -> dict[str, float]:
    """The balance that comes of keeping long documents without minding domains: global upsampling's."""
    kept = {name: tokens * (part + (1 - part) * RULE.short_share) for name, (tokens, part) in TOKENS.items()}
    return {name: tokens / sum(kept.values()) for name, tokens in kept.items()}


def batches(
    shards: TokenShards, shares: dict[str, float], long_first: LengthUpsampling | None, length: int, count: int
) -> TokenBatches:
    ramp = BatchRamp((BatchPhase(until=1.0, batch_tokens=2048),), 2048 * count, length)
    return TokenBatches(shards, (MixPhase(until=1.0, mixture_weights=shares),), ramp, 0, 0, long_first)


@dataclass(frozen=True)
class Arm:
    """What a model was given, in shares of tokens, and what it learnt: nats a repeated token of long and of short
    held-out documents of both domains."""

    books: float
    long: float
    far: float
    near: float


def given(read: TokenBatches) -> tuple[float, float]:
    """The share of books, and of long documents, counted in what every step gave."""
    tokens: Counter[str] = Counter()
    for step in range(len(read)):
        for number in read.ramp.rows_of(step):
            name, row = read.stretch_of(0).mixture.source_of(number)
            for inputs, _ in read.stretch_of(0).sources[name].texts(row):
                tokens[name] += len(inputs)
                tokens["long"] += len(inputs) * (len(inputs) > SHORT)
    total = tokens["books"] + tokens["web"]
    return tokens["books"] / total, tokens["long"] / total


def repeated(model: Transformer, shards: TokenShards, size: int) -> float:
    """Nats a token of the second halves."""
    rows, nats = [], []
    for domain in TOKENS:
        shard = shards.read(domain, "heldout")
        for number in range(len(shard)):
            ids = shard.document(number)
            if len(ids) == size:
                rows.append([(ids[:-1], ids[1:])])
    batch: Batch = collate(rows, size - 1, 0)
    model.eval()
    with torch.inference_mode():
        model(batch.tokens_BT, documents_BT=None, finish=next_token_loss.finish(batch, nats.append))
    assert (batch.targets_BT != IGNORE_INDEX).all()
    return float(nats[0][:, size // 2 :].mean())


def trained(state: TrainState, read: TokenBatches, peak: float) -> None:
    rate = lr_schedule("cosine", len(read), lr=peak, warmup=0.05, min_lr_ratio=0.1)
    for _ in train_steps(
        state,
        read,
        loss_fn=next_token_loss,
        lr_schedule=rate,
        max_grad_norm=1.0,
        strategy=single_device(state, LocalExecutor()),
    ):
        pass


@pytest.mark.slow
@pytest.mark.row(36, "experiment")
def test_domains_kept_or_not_and_long_documents_raised_or_not(tmp_path: Path, figure: Callable[..., None]) -> None:
    """Four ways to go on from one short-context model at equal tokens: Fu et al.'s original mix, their per-source and
    their global upsampling, and global upsampling's balance alone."""
    shards = written(tmp_path / "tokens")
    base = Transformer(SIZE.shape(vocab_size=shards.vocab_size, max_seq_len=LONG))
    initialize(base, std=0.06, layers=2, generator=torch.Generator().manual_seed(0))
    trained(TrainState(base, adamw(base, AdamWSettings())), batches(shards, BALANCED, None, SHORT, BASE_STEPS), 3e-3)
    arms: dict[tuple[bool, bool], Arm] = {}
    for kept in (True, False):
        for raised in (False, True):
            read = batches(shards, BALANCED if kept else shifted(), RULE if raised else None, LONG, STEPS)
            model = Transformer(base.shape)
            model.load_state_dict(base.state_dict())
            trained(TrainState(model, adamw(model, AdamWSettings())), read, 2e-3)
            arms[kept, raised] = Arm(*given(read), repeated(model, shards, LONG), repeated(model, shards, SHORT))
    names = {(True, False): "original", (True, True): "per source"}
    names |= {(False, False): "balance only", (False, True): "global"}
    rows = (
        f"{names[key]}: books {arm.books:.1%}, long {arm.long:.0%}, far {arm.far:.2f}, near {arm.near:.2f}"
        for key, arm in arms.items()
    )
    figure("; ".join(rows), seeds=0)
    for (kept, raised), arm in arms.items():
        assert arm.books == pytest.approx((BALANCED if kept else shifted())["books"], abs=0.01)
        assert arm.long == pytest.approx(0.7 if raised else 0.34, abs=0.06)
    for kept in (True, False):  # what lies far back is learnt better, whatever the balance
        assert arms[kept, True].far < 0.5 * arms[kept, False].far
    assert abs(shifted()["books"] - BALANCED["books"]) > 0.05  # otherwise the two balances were one
