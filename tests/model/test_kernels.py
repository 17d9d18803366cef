"""Our kernels for training on a CPU give what PyTorch gives."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.model import kernels
from herd.model.attention_backends import Blockwise
from herd.model.sizes import Shape
from herd.train import cross_entropy as module
from herd.train.cross_entropy import cross_entropy

SMALL = partial(Shape, dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=40, vocab_size=53, max_seq_len=40)


def test_a_number_that_is_none_goes_through_our_kernels() -> None:
    q, k, v = torch.randn(1, 2, 20, 8), torch.randn(1, 1, 20, 8), torch.randn(1, 1, 20, 8)
    k[0, 0, 3, 2] = float("nan")
    mixed = Blockwise().attend(q, k, v, None)
    assert mixed[0, :, 3:].isnan().all()
    hidden, targets = torch.randn(1, 4, 8), torch.tensor([[1, 2, 3, 4]])
    matrix = torch.randn(21, 8)
    matrix[20, 0] = float("nan")
    total, _ = cross_entropy(hidden, matrix, targets)
    assert total.isnan()


@given(st.integers(1, 9), st.integers(2, 70), st.sampled_from([0.0, 1e-2]), st.integers(0, 2**31))
def test_our_losses_and_their_slopes_are_pytorchs(rows: int, columns: int, z: float, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, columns, generator=chance) * 8
    wanted = torch.randint(0, columns, (rows,), generator=chance)
    found = [chunk(logits.clone(), wanted, z, None, True) for chunk in (module._chunk, module._chunk_native)]
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_target_beyond_the_vocabulary_is_told() -> None:
    for target in (9, -3):
        with pytest.raises(DataError, match=f"target {target} is no token of a vocabulary of 5"):
            cross_entropy(torch.randn(1, 2, 4), torch.randn(5, 4), torch.tensor([[1, target]]))


VARIANTS = ("baseline", "avx2", "avx512")


@pytest.mark.parametrize("most", VARIANTS)
def test_the_variant_is_what_the_processor_has_and_no_more_than_is_allowed(most: str) -> None:
    chosen = kernels.isa()
    assert chosen in VARIANTS
    code = "from herd.model import kernels; print(kernels.isa())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"HERD_MAX_CPU_ISA": most},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == min(chosen, most, key=VARIANTS.index)


@pytest.mark.parametrize("most", VARIANTS[:2])
def test_lesser_variants_give_what_pytorch_gives(most: str) -> None:
    if VARIANTS.index(most) >= VARIANTS.index(kernels.isa()):
        pytest.skip("the other tests here are about this variant")
    files = [__file__, *(str(Path(__file__).with_name(name)) for name in ("test_blockwise.py", "test_packed.py"))]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", "not variant"]
    told = os.environ | {"HERD_MAX_CPU_ISA": most}
    done = subprocess.run(command, env=told, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
