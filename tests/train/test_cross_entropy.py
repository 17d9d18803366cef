"""The loss in chunks is the loss, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.train import cross_entropy as module
from herd.train.batches import IGNORE_INDEX
from herd.train.cross_entropy import cross_entropy


def both(rows: int, vocabulary: int, z: float, ignored: int):
    chance = torch.Generator().manual_seed(rows * vocabulary)
    hidden = torch.randn(2, rows, 8, generator=chance, dtype=torch.float32)
    weight = torch.randn(vocabulary, 8, generator=chance)
    targets = torch.randint(0, vocabulary, (2, rows), generator=chance)
    targets[:, :ignored] = IGNORE_INDEX
    found, wanted = [], []
    h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    total, each = cross_entropy(h, w, targets, z_loss=z)
    (total * 0.5).backward()
    found += [total, h.grad, w.grad]
    h2, w2 = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
    logits = h2 @ w2.T
    kept = targets != IGNORE_INDEX
    plain = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE_INDEX, reduction="none")
    total2 = plain.sum() + z * (logits.logsumexp(-1).square() * kept).sum()
    (total2 * 0.5).backward()
    wanted += [total2, h2.grad, w2.grad]
    assert torch.allclose(each.flatten(), plain.detach(), atol=1e-5)
    return found, wanted


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(2, 40), st.sampled_from([0.0, 1e-2]), st.integers(0, 9))
def test_loss_and_gradients_are_those_of_all_logits_at_once(rows: int, vocabulary: int, z: float, ignored: int) -> None:
    for found, wanted in zip(*both(rows, vocabulary, z, min(ignored, rows)), strict=True):
        assert torch.allclose(found, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("limit", [1, 40])
def test_chunks_change_nothing(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "logit_rows", lambda vocabulary, device: max(1, limit // vocabulary))
    for found, wanted in zip(*both(9, 7, 1e-3, 2), strict=True):
        assert torch.allclose(found, wanted, atol=1e-4)


def test_without_gradients_none_are_made() -> None:
    with torch.inference_mode():
        total, each = cross_entropy(torch.randn(1, 4, 8), torch.randn(5, 8), torch.zeros(1, 4, dtype=torch.long))
    assert total == pytest.approx(float(each.sum()))
