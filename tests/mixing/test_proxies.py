"""Small models that are trained to find a mix: what they read, and what is known of every source apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from herd.mixing.proxies import (
    EvalPoint,
    LossCurve,
    PerSourceTrainer,
    SampledBatches,
    new_model,
    random_sources,
    row_tokens,
    stratified_batches,
    train_proxy,
)
from herd.tokens.shards import TokenShards
from herd.train.objectives import next_token_loss
from tests.mixing.planted import field, run
from tests.mixing.test_methods import shards as shards


def test_rows_by_chance_and_rows_evenly_meet_the_shares(shards: TokenShards) -> None:
    given = field(shards)
    shares = np.array([0.5, 0.3, 0.2])
    batches = SampledBatches(given, given.proxy, random_sources(given, shares))
    for step in range(len(batches)):
        assert len(batches.batch(step).sources) == 8
    read = np.array([batches.rows_read[name] for name in given.sources])
    assert read / read.sum() == pytest.approx(shares, abs=0.08)
    even = stratified_batches(given, given.proxy, given.named(shares), late=(0.25, {"noise": 1.0})).counts()
    assert even["noise"]["rows"] == pytest.approx((0.75 * 0.3 + 0.25) * 480, abs=2)  # the sources stand by name


def test_a_curve_is_read_between_its_points_and_never_beyond() -> None:
    curve = LossCurve([EvalPoint(100, {"a": 4.0, "b": 2.0}), EvalPoint(300, {"a": 2.0, "b": 2.0})])
    assert (curve.last.mean, curve.last.worst) == (2.0, 2.0)
    assert curve.tokens_to(2.5) == pytest.approx(200)
    assert (curve.tokens_to(3.0), curve.tokens_to(2.0), curve.tokens_to(1.9)) == (100, 300, None)


def test_a_batch_is_taken_once_however_often_it_is_asked_for(shards: TokenShards) -> None:
    given = field(shards)
    batches = SampledBatches(given, given.proxy, lambda step, rows: ["noise"] * rows)
    first = batches.batch(0)
    assert batches.batch(0) is first
    assert batches.rows_read == {"helper": 0, "noise": 8, "target": 0}
    following = batches.batch(1)
    assert not torch.equal(first.tokens_BT, following.tokens_BT)  # the next rows of its text
    assert batches.counts()["noise"]["rows"] == 16
    assert first.sources == ("noise",) * 8


def test_a_first_model_follows_from_the_seed(shards: TokenShards) -> None:
    one, again, other = (new_model(field(shards, seed=seed), run()) for seed in (0, 0, 1))
    assert torch.equal(one.embedding.weight, again.embedding.weight)
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    assert row_tokens(field(shards)) == pytest.approx([64.0] * 3, abs=1)


def test_a_run_tells_its_points_evenly_and_what_was_read(shards: TokenShards) -> None:
    given = field(shards)
    short = run(tokens=8 * 512)
    seen: list[int] = []
    shares = dict.fromkeys(given.sources, 1.0)
    _, curve = train_proxy(
        given, short, stratified_batches(given, short, shares), points=4, on_step=lambda step: seen.append(step.number)
    )
    assert [point.tokens for point in curve.points] == [1024, 2048, 3072, 4096]
    assert seen == list(range(1, 9))
    assert curve.rows == 64
    assert set(curve.last.losses) == set(given.sources) == set(curve.tokens_read)


def test_losses_apart_are_those_of_each_sources_rows(shards: TokenShards) -> None:
    given = field(shards)
    apart = PerSourceTrainer(given, run())
    batch = apart.batch(0)
    assert batch.sources == tuple(name for name in given.sources for _ in range(apart.rows))
    for number, (mean, each) in enumerate(apart.losses(batch)):
        own = apart.source(batch, number)
        total, _ = next_token_loss(apart.model, own)
        assert float(mean.detach()) == pytest.approx(float(total.detach()) / own.loss_denominator, rel=1e-5)
        assert float(each.sum().detach()) == pytest.approx(float(total.detach()), rel=1e-5)
    assert apart.tokens <= run().tokens
    before = apart.params[0].detach().clone()
    apart.step(0, [torch.ones_like(weight) for weight in apart.params])
    assert not torch.equal(apart.params[0], before)
    assert apart.params[0].grad is None
