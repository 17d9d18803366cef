"""Log-probabilities without the logits of all: those of a softmax, and so are their gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.train import log_probs as module
from herd.train.batches import IGNORE_INDEX
from herd.train.log_probs import target_log_probs


@given(st.integers(0, 1000), st.sampled_from([7, 40]))
def test_log_probabilities_have_the_gradients_of_a_softmax(seed: int, vocabulary: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    hidden = torch.randn(2, 5, 8, generator=chance).requires_grad_()
    matrix = torch.randn(vocabulary, 8, generator=chance).requires_grad_()
    targets = torch.randint(vocabulary, (2, 5), generator=chance)
    targets[torch.rand(2, 5, generator=chance) < 0.4] = IGNORE_INDEX
    kept = targets != IGNORE_INDEX
    found = target_log_probs(hidden, matrix, targets)
    wanted = (hidden @ matrix.T).log_softmax(-1)[kept].gather(-1, targets[kept][:, None]).squeeze(-1)
    weights = torch.randn(int(kept.sum()), generator=chance)
    assert torch.allclose(found, wanted, atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), (hidden, matrix)),
        torch.autograd.grad((wanted * weights).sum(), (hidden, matrix)),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-4)


def drawn(rows: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, rows, 8, generator=chance)
    return hidden, torch.randn(11, 8, generator=chance), torch.randint(11, (1, rows), generator=chance)


def test_rows_made_a_few_at_a_time_are_those_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, matrix, targets = drawn()
    found = []
    for size in (100, 3, 1):
        monkeypatch.setattr(module, "logit_rows", lambda vocabulary, device, size=size: size)
        rows, weight = hidden.clone().requires_grad_(), matrix.clone().requires_grad_()
        out = target_log_probs(rows, weight, targets)
        found.append((out.detach(), *torch.autograd.grad(out.square().sum(), (rows, weight))))
    for other in found[1:]:
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found[0], other, strict=True))


def test_a_frozen_matrix_gets_no_gradient_and_no_targets_give_nothing() -> None:
    hidden, matrix, targets = drawn()
    hidden.requires_grad_()
    (slope,) = torch.autograd.grad(target_log_probs(hidden, matrix, targets).sum(), hidden)
    assert slope.abs().sum() > 0
    assert matrix.grad is None
    assert target_log_probs(hidden, matrix, torch.full_like(targets, IGNORE_INDEX)).shape == (0,)


def test_under_autocast_products_are_bf16_and_sums_are_not() -> None:
    hidden, matrix, targets = drawn()
    exact = target_log_probs(hidden, matrix, targets)
    with torch.autocast("cpu", torch.bfloat16):
        rough = target_log_probs(hidden, matrix, targets)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)
    assert torch.allclose(rough, exact, atol=0.2)
