"""RMSNorm is its formula, and casts where llama-models does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.model.norm import RMSNorm


@given(st.integers(1, 33), st.floats(1e-3, 1e3), st.sampled_from([1e-6, 1e-5, 1e-1]))
def test_states_are_divided_by_their_root_mean_square(width: int, size: float, eps: float) -> None:
    norm, chance = RMSNorm(width, eps), torch.Generator().manual_seed(width)
    torch.nn.init.normal_(norm.weight, 1.0, 0.2, generator=chance)
    x = size * torch.randn(3, width, generator=chance)
    wanted = x.double() / (x.double().square().mean(-1, keepdim=True) + eps).sqrt() * norm.weight.double()
    assert torch.allclose(norm(x).double(), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_in_16_bits_it_is_rounded_before_the_gain(kind: torch.dtype) -> None:
    norm = RMSNorm(64, 1e-5).to(kind)
    torch.nn.init.normal_(norm.weight, 1.0, 0.2, generator=torch.Generator().manual_seed(0))
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(1)).to(kind)
    normed = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)
    found = norm(x)
    assert found.dtype == kind
    assert torch.equal(found, normed.to(kind) * norm.weight)
    assert not torch.equal(found, (normed * norm.weight.float()).to(kind))  # which rounds once


def test_zeros_stay_zeros() -> None:
    assert not RMSNorm(8, 1e-6)(torch.zeros(2, 8)).any()
