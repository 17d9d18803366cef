"""What makes training faster leaves its result as it is, but for rounding."""

from __future__ import annotations

import pytest
import torch

from herd.run.executors import LocalExecutor
from herd.train.loop import single_device, train_steps
from herd.train.objectives import NextTokenLoss, next_token_loss
from herd.train.settings import ComputeSettings
from tests.train.test_loop import RATE, batches, state, weights  # noqa: F401 - a fixture


def losses(given, speed: ComputeSettings, loss=next_token_loss, workers: int = 1, clip: float = 1.0) -> list[float]:
    made = state()
    hands = single_device(made, LocalExecutor(lambda: workers), speed)
    found = train_steps(
        made, given, loss_fn=loss, lr_schedule=RATE, max_grad_norm=clip, strategy=hands, micro_batch=speed.micro_batch
    )
    return [step.loss for step in found]


@pytest.mark.parametrize(
    ("speed", "tolerance"),
    [
        (ComputeSettings(recompute=True), 0.0),
        (ComputeSettings(recompute="selective"), 1e-6),
        (ComputeSettings(compile=True, recompute="selective"), 1e-4),
        (ComputeSettings(compile=True), 1e-4),
        (ComputeSettings(compile=True, recompute=True), 1e-4),
        (ComputeSettings(micro_batch=1), 1e-5),
        (ComputeSettings(dtype="bf16"), 2e-2),
    ],
)
def test_faster_is_the_same(speed: ComputeSettings, tolerance: float, batches) -> None:  # noqa: F811
    wanted, found = losses(batches, ComputeSettings()), losses(batches, speed)
    assert found == pytest.approx(wanted, rel=tolerance, abs=0)


def test_compiled_on_two_threads_gives_the_bits_of_one(batches) -> None:  # noqa: F811
    speed = ComputeSettings(compile=True)
    assert losses(batches, speed) == losses(batches, speed, workers=2)


def test_eight_bits_learn_too(batches) -> None:  # noqa: F811
    pytest.importorskip("torchao", reason="torchao is not installed")
    plain, eight = losses(batches, ComputeSettings()), losses(batches, ComputeSettings(dtype="bf16", float8=True))
    assert eight[0] == pytest.approx(plain[0], rel=0.05)
    assert eight[-1] < eight[0] - 0.5


def test_parts_of_a_batch_count_by_their_tokens(batches) -> None:  # noqa: F811
    """Not every micro-batch the same: the one with more targets would weigh too little."""
    made = state()
    batch = batches.batch(0)
    short = batch.rows(slice(0, 1)).targets_BT.clone()
    short[:, 2:] = -100
    uneven = type(batch)(batch.tokens_BT, torch.cat((short, batch.targets_BT[1:])), batch.documents_BT, batch.sources)
    hands = single_device(made, LocalExecutor())
    value, _ = hands.gradients(uneven, next_token_loss, 1)
    total, _ = next_token_loss(made.model, uneven)
    assert value == pytest.approx(float(total.detach() / uneven.loss_denominator), rel=1e-5)


def test_large_logits_are_held_back(batches) -> None:  # noqa: F811
    free, held = losses(batches, ComputeSettings()), losses(batches, ComputeSettings(), loss=NextTokenLoss(z_loss=1e-2))
    assert held[0] > free[0]
