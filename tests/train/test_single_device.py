"""Gradients on one device: of the whole batch, however many parts and threads it is worked on in."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.run.executors import LocalExecutor
from herd.train.batches import Batch, TokenBatches
from herd.train.loop import single_device
from herd.train.objectives import next_token_loss
from herd.train.single_device import SingleDeviceStrategy, num_rows, sums_to_metrics
from tests.train.test_loop import batches as batches
from tests.train.test_loop import run, same, state


def test_two_threads_give_the_bits_of_one(batches: TokenBatches) -> None:
    one, two = state(), state()
    run(one, batches, workers=1)
    run(two, batches, workers=2)
    assert same(one, two)


def hands(workers: int = 1) -> tuple[SingleDeviceStrategy, list[torch.nn.Parameter]]:
    made = state()
    return single_device(made, LocalExecutor(lambda: workers)), list(made.model.parameters())


@pytest.mark.parametrize("micro_batch", [None, 1, 2, 3, 9])
def test_gradients_are_those_of_the_mean_over_all_targets(micro_batch: int | None, batches: TokenBatches) -> None:
    batch = batches.batch(0)
    assert num_rows(batch) == 4
    own, weights = hands()
    value, sums = own.gradients(batch, next_token_loss, micro_batch)
    norm = own.clip_gradients(1e9)
    plain = copy.deepcopy(own.model)
    total, _ = next_token_loss(plain, batch)
    (total / batch.loss_denominator).backward()
    assert value == pytest.approx(float(total.detach()) / batch.loss_denominator, rel=1e-5)
    wanted = [weight.grad for weight in plain.parameters()]
    for weight, gradient in zip(weights, wanted, strict=True):
        assert weight.grad is not None
        assert gradient is not None
        assert torch.allclose(weight.grad, gradient, atol=1e-6)
    assert norm == pytest.approx(float(torch.stack([one.norm() for one in wanted if one is not None]).norm()), rel=1e-5)
    assert sums["tokens/a"] == pytest.approx(1.0)  # all are of one source
    assert sums["loss/a"] == pytest.approx(value, rel=1e-5)
    own.close()


def test_gradients_of_a_step_do_not_stand_in_the_next(batches: TokenBatches) -> None:
    own, weights = hands()
    own.gradients(batches.batch(0), next_token_loss, None)
    own.gradients(batches.batch(1), next_token_loss, None)
    twice = [weight.grad for weight in weights]
    other, fresh = hands()
    other.gradients(batches.batch(1), next_token_loss, None)
    assert all(
        torch.equal(a, b.grad) for a, b in zip(twice, fresh, strict=True) if a is not None and b.grad is not None
    )
    own.close()
    other.close()


def test_a_long_gradient_is_shortened_and_a_short_one_stays(batches: TokenBatches) -> None:
    own, weights = hands()
    own.gradients(batches.batch(0), next_token_loss, None)
    before = [weight.grad.clone() for weight in weights if weight.grad is not None]
    norm = own.clip_gradients(1e6)
    assert all(torch.equal(a, b.grad) for a, b in zip(before, weights, strict=True) if b.grad is not None)
    assert own.clip_gradients(norm / 4) == pytest.approx(norm, rel=1e-5)  # what it was, not what it became
    assert own.clip_gradients(1e6) == pytest.approx(norm / 4, rel=1e-4)
    own.close()


def test_a_model_that_is_asked_is_not_in_training_and_agrees_with_itself() -> None:
    own, _ = hands()
    own.model.train()
    with own.evaluating() as model:
        assert model is own.model
        assert not model.training
    assert own.broadcast(True)
    assert not own.broadcast(False)
    own.close()


@given(st.integers(1, 9))
def test_rows_are_counted_whatever_they_hold(rows: int) -> None:
    one = torch.zeros(rows, 3, dtype=torch.long)
    assert num_rows(Batch(one, one, one)) == rows


def test_the_loss_of_a_source_is_divided_by_its_own_tokens() -> None:
    """Nats of 30 and 10 over 8 and 2 tokens, all divided by the batch's 10."""
    sums = {
        "loss/a": 3.0,
        "tokens/a": 0.8,
        "loss/b": 1.0,
        "tokens/b": 0.2,
        "margin": 0.5,
        "loss/c": 0.0,
        "tokens/c": 0.0,
    }
    assert sums_to_metrics(sums, 10.0) == pytest.approx(
        {"loss/a": 3.75, "tokens/a": 8.0, "loss/b": 5.0, "tokens/b": 2.0, "margin": 0.5, "tokens/c": 0.0}
    )
    assert isinstance(sums_to_metrics({"tokens/a": 0.29999999999999993}, 10.0)["tokens/a"], float)
    assert sums_to_metrics({"tokens/a": 0.29999999999999993}, 10.0)["tokens/a"] == 3.0
