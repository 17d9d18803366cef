"""Muon's updates are orthogonal, PyTorch's Muon makes the same, and training goes on from a checkpoint bit for bit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from herd.train.batches import TokenBatches
from herd.train.checkpoint import TrainState, restore, save
from herd.train.loop import single_device, train_steps
from herd.train.muon import NS_COEFFICIENTS, Muon, lr_scale, orthogonalize
from herd.train.objectives import next_token_loss
from herd.train.optimizer import OptimizerSettings, build_optimizer
from tests.train.test_loop import RATE, LocalExecutor, run, same
from tests.train.test_loop import batches as batches
from tests.train.test_loop import state as adamw_state

SHAPES = ((24, 16), (16, 24), (16, 16), (24, 16))


def state(seed: int = 0) -> TrainState:
    model = adamw_state(seed).model
    return TrainState(model, build_optimizer(model, OptimizerSettings(name="muon")))


def spectrum(values: Tensor, rows: int, columns: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A matrix with these singular values, and its singular vectors."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(rows, len(values), generator=generator)).Q
    right = torch.linalg.qr(torch.randn(columns, len(values), generator=generator)).Q
    return left @ values.diag() @ right.T, left, right


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(st.floats(0.02, 1.0), min_size=2, max_size=12),
    wide=st.integers(12, 40),
    seed=st.integers(0, 1000),
    size=st.floats(1e-4, 1e4),
)
def test_singular_values_of_an_update_are_near_one(values: list[float], wide: int, seed: int, size: float) -> None:
    matrix, left, right = spectrum(size * torch.tensor(values), len(values), wide, seed)
    (update,) = orthogonalize(matrix[None])
    assert update.shape == matrix.shape
    ends = torch.linalg.svdvals(update)
    assert float(ends.min()) > 0.65
    assert float(ends.max()) < 1.25
    # Singular vectors stay as they are.
    turned = left.T @ update @ right
    assert torch.allclose(turned, turned.diagonal().diag(), atol=2e-3)
    (other,) = orthogonalize(matrix.T[None])
    assert torch.allclose(other.T, update, atol=1e-5)


def test_nothing_stays_nothing() -> None:
    assert not orthogonalize(torch.zeros(2, 3, 5)).any()


def test_one_step_by_hand() -> None:
    """A gradient that is orthogonal up to a factor has one singular value, which the polynomial moves as a number."""
    matrix = nn.Parameter(torch.full((4, 4), 2.0))
    optimizer = Muon([matrix], lr=0.1, weight_decay=0.5, ns_steps=3)
    matrix.grad = 7 * torch.eye(4)
    optimizer.step()
    value, (a, b, c) = 0.5, NS_COEFFICIENTS  # a quarter of the squares' sum is each one's
    for _ in range(3):
        value = a * value + b * value**3 + c * value**5
    wanted = 2.0 * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 2.0 * value * torch.eye(4)
    assert torch.allclose(matrix.detach(), wanted, atol=1e-6)
    assert torch.allclose(optimizer.state[matrix]["momentum_buffer"], 0.05 * 7 * torch.eye(4))


def test_the_rate_of_a_matrix_follows_its_shape() -> None:
    assert lr_scale((16, 64), "match_rms_adamw") == lr_scale((64, 16), "match_rms_adamw") == pytest.approx(1.6)
    assert (lr_scale((16, 64), "original"), lr_scale((64, 16), "original")) == (1.0, 2.0)
    (update,) = orthogonalize(torch.randn(1, 64, 256, generator=torch.Generator().manual_seed(0)))
    size = float((update * lr_scale((64, 256), "match_rms_adamw")).square().mean().sqrt())
    assert size == pytest.approx(0.2, rel=0.2)  # as AdamW's


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust_lr_fn", ["match_rms_adamw", "original"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_steps_are_those_of_torchs_muon(
    nesterov: bool, adjust_lr_fn: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which knows bf16 only; fp32 is put in its place, so that all digits can be compared."""
    if dtype == torch.float32:
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.ones(shape)) for shape in SHAPES] for _ in range(2))
    options: dict[str, Any] = {"lr": 0.0, "weight_decay": 0.3, "momentum": 0.9, "ns_steps": 4}
    options |= {"nesterov": nesterov, "adjust_lr_fn": adjust_lr_fn}
    mine, reference = Muon(ours, ns_dtype=dtype, **options), torch.optim.Muon(theirs, **options)
    tolerance = 1e-6 if dtype == torch.float32 else 2e-3
    for step in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in (mine, reference):
            optimizer.param_groups[0]["lr"] = 0.01 * (step + 1)
            optimizer.step()
        for a, b in zip(ours, theirs, strict=True):
            assert torch.allclose(a, b, atol=tolerance)
            buffers = (optimizer.state[weight]["momentum_buffer"] for optimizer, weight in ((mine, a), (reference, b)))
            assert torch.equal(*buffers)


def test_small_matrices_together_are_small_matrices_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    together, alone = state(), state()
    for made, numbers in ((together, 1 << 22), (alone, 1)):
        monkeypatch.setattr("herd.train.muon._STACK_NUMBERS", numbers)
        generator = torch.Generator().manual_seed(0)
        for weight in made.model.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        for group in made.optimizer.param_groups:
            group["lr"] = 0.01
        made.optimizer.step()
    for a, b in zip(together.model.parameters(), alone.model.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_threads_change_no_bit_and_both_have_work() -> None:
    alone, shared = state(), state()
    threads: set[int] = set()
    both_at_work = threading.Barrier(2)  # an update waits for another one, of another thread

    def map_fn(update: Any, stacks: Any) -> Any:
        def one(pair: tuple[int, Any]) -> None:
            if pair[0] < 2:
                both_at_work.wait(timeout=60)
            threads.add(threading.get_ident())
            update(pair[1])

        return pool.map(one, enumerate(stacks))

    with ThreadPoolExecutor(2) as pool:
        for made, own_map in ((alone, map), (shared, map_fn)):
            generator = torch.Generator().manual_seed(0)
            for weight in made.model.parameters():
                weight.grad = torch.randn(weight.shape, generator=generator)
            for group in made.optimizer.param_groups:
                group["lr"] = 0.01
            made.optimizer.step(map_fn=own_map)
    assert len(threads) == 2
    for a, b in zip(alone.model.parameters(), shared.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_training_learns_and_goes_on_from_a_checkpoint_bit_for_bit(batches: TokenBatches, tmp_path: Path) -> None:
    whole, first, second = state(), state(), state(seed=9)
    losses = [step.loss for step in run(whole, batches, workers=2)]
    assert losses[-1] < losses[0] - 0.5
    for step in train_steps(
        first,
        batches,
        loss_fn=next_token_loss,
        lr_schedule=RATE,
        max_grad_norm=1.0,
        strategy=single_device(first, LocalExecutor()),
    ):
        if step.number == 7:
            save(tmp_path / "scratch", first)
            break
    assert restore(tmp_path / "scratch", second)
    run(second, batches)
    assert same(whole, second)


def test_what_another_optimizer_kept_is_left_where_it_is_of_no_use(tmp_path: Path) -> None:
    """Moments of embedding, output and gains go on; those of matrices begin anew."""
    muons, adamws = state(), adamw_state()
    for made in (muons, adamws):
        for weight in made.model.parameters():
            weight.grad = torch.ones_like(weight)
        made.optimizer.step()
    for source, target in ((adamws, state(seed=1)), (muons, adamw_state(seed=1))):
        save(tmp_path / str(id(source)), source)
        assert restore(tmp_path / str(id(source)), target)
        for name, weight in target.model.named_parameters():
            keys = set(target.optimizer.state[weight])
            matrix = "blocks." in name and weight.dim() == 2
            assert keys == (set() if matrix else {"exp_avg", "exp_avg_sq", "step"}), name
            weight.grad = torch.ones_like(weight)
        target.optimizer.step()
