"""Training on a GPU: every way of attending, the compiled loss and lower precision give what a CPU gives in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from herd.model.attention_backends import ATTENTION_BACKENDS, Sdpa, attention_backend
from herd.run.executors import LocalExecutor
from herd.train.batches import TokenBatches
from herd.train.checkpoint import TrainState, restore, save
from herd.train.cross_entropy import cross_entropy
from herd.train.loop import single_device, train_steps
from herd.train.objectives import next_token_loss
from herd.train.optimizer import AdamWSettings, adamw
from herd.train.settings import ComputeSettings
from tests.train.test_loop import RATE, batches, state  # noqa: F401 - a fixture

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def on_gpu() -> TrainState[Any]:
    model = state().model.cuda()
    return TrainState(model, adamw(model, AdamWSettings()))


def losses(made: TrainState[Any], given: TokenBatches, speed: ComputeSettings) -> list[float]:
    hands = single_device(made, LocalExecutor(), speed)
    return [
        step.loss
        for step in train_steps(
            made, given, loss_fn=next_token_loss, lr_schedule=RATE, max_grad_norm=1.0, strategy=hands
        )
    ]


@pytest.mark.parametrize(
    ("speed", "tolerance"),
    [
        (ComputeSettings(attention="sdpa"), 2e-3),
        (ComputeSettings(compile=True), 2e-3),
        (ComputeSettings(dtype="bf16"), 2e-2),
        (ComputeSettings(dtype="bf16", compile=True, micro_batch=2), 2e-2),
        (ComputeSettings(dtype="bf16", compile=True, recompute=True, attention="flex"), 2e-2),
        (ComputeSettings(dtype="bf16", compile=True, attention="varlen"), 2e-2),
    ],
)
def test_a_gpu_learns_as_a_cpu_does(speed: ComputeSettings, tolerance: float, batches: TokenBatches) -> None:  # noqa: F811
    wanted = losses(state(), batches, ComputeSettings())
    assert losses(on_gpu(), batches, speed) == pytest.approx(wanted, rel=tolerance)


def test_eight_bits_learn(batches: TokenBatches) -> None:  # noqa: F811
    pytest.importorskip("torchao", reason="torchao is not installed")
    found = losses(on_gpu(), batches, ComputeSettings(dtype="bf16", float8=True, compile=True))
    assert found[-1] < found[0] - 0.5


def documents(seed: int) -> torch.Tensor:
    """Two rows of 512 in documents of random lengths, the last places empty."""
    generator = torch.Generator().manual_seed(seed)
    found = (torch.rand(2, 512, generator=generator) < 0.02).long().cumsum(1)
    found[:, -9:] = -1
    return found.cuda()


@pytest.mark.parametrize("name", ["flex", "varlen", "sdpa"])
def test_ways_to_attend_agree_and_compile_once(name: str) -> None:
    way, plain = ATTENTION_BACKENDS[name](), Sdpa()
    compiled = torch.compile(way.attend, dynamic=False)
    counts = []
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        sizes = (2, 4, 512, 64), (2, 2, 512, 64), (2, 2, 512, 64)
        q, k, v = given = [torch.randn(size, generator=generator).cuda().bfloat16().requires_grad_() for size in sizes]
        q32, k32, v32 = exact = [one.detach().float().requires_grad_() for one in given]
        where = documents(seed % 2)  # as many documents again and again
        slope = torch.randn(sizes[0], generator=generator).cuda()
        seen = (where >= 0)[:, None, :, None]
        found = compiled(q, k, v, way.mask(where)) * seen
        wanted = plain.attend(q32, k32, v32, plain.mask(where)) * seen
        assert (found - wanted).norm() / wanted.norm() < 1e-2
        slopes = torch.autograd.grad(found, given, slope.bfloat16())
        for one, other in zip(slopes, torch.autograd.grad(wanted, exact, slope), strict=True):
            assert (one - other).norm() / other.norm() < 2e-2
        counts.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counts[-1] == counts[1]


def test_the_fastest_way_is_found() -> None:
    found = attention_backend("auto", torch.device("cuda", 0), torch.bfloat16, shape=(4, 2, 2048, 64))
    assert type(found).__name__ in ("Flex", "Varlen", "Sdpa")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_compiled_loss(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2, 300, 64, generator=generator)
    matrix = torch.randn(20_000, 64, generator=generator) * 0.2
    for ignored in (0, 7, 123):
        targets = torch.randint(0, 20_000, (2, 300), generator=generator)
        targets.view(-1)[:ignored] = -100
        parts = []
        for device, kind in (("cpu", torch.float32), ("cuda", dtype)):
            given = hidden.to(device, kind).requires_grad_()
            weights = matrix.to(device).requires_grad_()
            total, each = cross_entropy(given, weights, targets.to(device), z_loss=1e-3)
            parts.append(
                [x.detach().cpu().float() for x in (total, each, *torch.autograd.grad(total, (given, weights)))]
            )
        for one, other in zip(*parts, strict=True):
            assert (one - other).norm() / other.norm() < (1e-4 if dtype == torch.float32 else 1e-2)


def test_what_is_saved_comes_back_bit_for_bit(batches: TokenBatches, tmp_path: Path) -> None:  # noqa: F811
    made = on_gpu()
    losses(made, batches, ComputeSettings(dtype="bf16"))
    save(tmp_path, made)
    other = on_gpu()
    assert restore(tmp_path, other)
    assert other.step == made.step
    for a, b in zip(made.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
        assert torch.equal(made.optimizer.state[a]["exp_avg_sq"], other.optimizer.state[b]["exp_avg_sq"])
