"""Products of matrices by our own kernel, whichever processor this is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.model import products
from herd.model.kernels import cpu_kernels

needs_kernels = pytest.mark.skipif(cpu_kernels() is None, reason="needs a C++ compiler, or kernels that are built")
SIDES = st.sampled_from([1, 5, 6, 7, 16, 17, 33, 100, 385])


@needs_kernels
@given(SIDES, SIDES, SIDES, st.booleans(), st.booleans(), st.booleans())
def test_a_product_is_pytorchs(rows: int, columns: int, depth: int, turned_a: bool, turned_b: bool, add: bool) -> None:
    chance = torch.Generator().manual_seed(rows + columns + depth)
    a = torch.randn(depth, rows, generator=chance).T if turned_a else torch.randn(rows, depth, generator=chance)
    b = torch.randn(columns, depth, generator=chance).T if turned_b else torch.randn(depth, columns, generator=chance)
    # Part of a wider matrix: what lies beside it stays.
    wide = torch.randn(rows, columns + 3, generator=chance)
    before, out = wide.clone(), wide[:, :columns]
    wanted = a @ b + (out if add else 0)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(products, "own_kernel_is_faster", lambda: True)
        assert products.matmul(a, b, out, add=add) is out
    assert torch.allclose(out, wanted, atol=1e-4 * depth**0.5)
    assert torch.equal(wide[:, columns:], before[:, columns:])


def test_without_the_kernel_pytorch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "own_kernel_is_faster", lambda: False)
    a, b, out = torch.ones(2, 3), torch.ones(3, 4), torch.ones(2, 4)
    assert torch.equal(products.matmul(a, b, out, add=True), torch.full((2, 4), 4.0))
    assert torch.equal(products.matmul(a, b, out), torch.full((2, 4), 3.0))


def test_several_threads_are_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products.torch, "get_num_threads", lambda: 2)
    assert not products.own_kernel_is_faster()
