"""Our kernels for training on a CPU give what PyTorch gives."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.model import kernels
from herd.model.attending import Blockwise, Sdpa
from herd.model.cache import Cache
from herd.model.packed import Packed, packable
from herd.model.sizes import Shape
from herd.model.transformer import Transformer, initialize
from herd.train import cross_entropy as module
from herd.train.cross_entropy import cross_entropy

SMALL = partial(Shape, width=32, layers=2, heads=4, kv_heads=2, hidden=40, vocabulary=53, context=40)


@given(
    st.integers(1, 3),
    st.sampled_from([(1, 1), (4, 2), (6, 2)]),
    st.integers(1, 150),
    st.sampled_from([4, 8, 24, 32, 64]),
    st.integers(0, 6),
    st.integers(0, 2**31),
)
@example(1, (6, 2), 49, 24, 3, 0)
@settings(max_examples=40)
def test_our_attention_and_its_slopes_are_pytorchs(
    rows: int, heads: tuple[int, int], tokens: int, width: int, cuts: int, seed: int
) -> None:
    """Any length and width, documents anywhere: within rounding, on one thread or several."""
    chance = torch.Generator().manual_seed(seed)
    sizes = (heads[0], heads[1], heads[1])
    q, k, v = (torch.randn(rows, tokens, n, width, generator=chance).transpose(1, 2).requires_grad_() for n in sizes)
    slope = torch.randn(rows, heads[0], tokens, width, generator=chance)
    documents = torch.randint(0, tokens, (rows, cuts), generator=chance) if cuts else None
    if documents is not None:
        documents = (torch.arange(tokens)[None, :, None] >= documents[:, None, :]).sum(-1)
    found = []
    for way in (Sdpa(), Blockwise()):
        mixed = way.attend(q, k, v, way.mask(documents))
        found.append((mixed, *torch.autograd.grad(mixed, (q, k, v), slope)))
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert torch.allclose(ours, theirs, atol=3e-5, rtol=1e-4)
    torch.set_num_threads(3)
    try:
        again = Blockwise().attend(q, k, v, Blockwise().mask(documents))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(again, found[1][0])


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
    found = [chunk(logits.clone(), wanted, z, None, True) for chunk in (module._chunk, module._chunk_here)]
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_target_beyond_the_vocabulary_is_told() -> None:
    for target in (9, -3):
        with pytest.raises(DataError, match=f"target {target} is no token of a vocabulary of 5"):
            cross_entropy(torch.randn(1, 2, 4), torch.randn(5, 4), torch.tensor([[1, target]]))


@settings(max_examples=30)
@given(
    st.sampled_from([(32, 4, 2, 40), (48, 2, 1, 64), (36, 3, 3, 24), (64, 4, 1, 96)]),
    st.integers(1, 9),
    st.lists(st.integers(1, 9), min_size=1, max_size=4),
    st.booleans(),
    st.integers(1, 3),
)
def test_a_packed_model_reads_as_the_model_does(
    sizes: tuple[int, int, int, int], rows: int, pieces: list[int], tied: bool, threads: int
) -> None:
    """Any widths, in pieces of any length after one another, on one thread or several."""
    width, heads, groups, hidden = sizes
    shape = SMALL(width=width, heads=heads, kv_heads=groups, hidden=hidden, tied_output=tied)
    model = Transformer(shape).eval()
    initialize(model, std=0.2, layers=2, generator=torch.Generator().manual_seed(rows))
    tokens = torch.randint(0, 53, (rows, sum(pieces)), generator=torch.Generator().manual_seed(1))
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            packed, cache = Packed(model), Cache.empty(shape, rows, 40, torch.float32, torch.device("cpu"))
            found = []
            for piece in tokens.split(pieces, 1):
                found.append(packed.logits(packed.hidden(piece, cache=cache)))
                cache.lengths_B = cache.lengths_B + piece.shape[1]
            wanted = model(tokens)
    finally:
        torch.set_num_threads(1)
    assert torch.allclose(torch.cat(found, 1), wanted, atol=2e-5, rtol=1e-4)


def test_a_row_does_not_depend_on_those_beside_it() -> None:
    shape = SMALL(layers=2)
    model = Transformer(shape).eval()
    initialize(model, std=0.2, layers=2, generator=torch.Generator().manual_seed(0))
    packed, tokens = Packed(model), torch.randint(0, 53, (11, 7))

    def logits(rows: torch.Tensor) -> torch.Tensor:
        cache = Cache.empty(shape, len(rows), 40, torch.float32, torch.device("cpu"))
        return packed.logits(packed.hidden(rows, cache=cache))

    alone = torch.cat([logits(tokens[row : row + 1]) for row in range(11)])
    assert torch.equal(logits(tokens), alone)


def test_what_does_not_fit_is_told_and_read_nowhere() -> None:
    shape = SMALL(layers=1)
    packed, cache = Packed(Transformer(shape)), Cache.empty(shape, 1, 4, torch.float32, torch.device("cpu"))
    with pytest.raises(DataError, match="53 is no token of a vocabulary of 53"):
        packed.hidden(torch.tensor([[53]]), cache=cache)
    with pytest.raises(DataError, match="5 more tokens do not fit a cache of 4"):
        packed.hidden(torch.tensor([[1, 2, 3, 4, 5]]), cache=cache)


def test_models_that_are_not_whole_and_in_fp32_are_not_packed() -> None:
    shape = SMALL(layers=1)
    assert packable(Transformer(shape))
    assert not packable(Transformer(shape).to(torch.bfloat16))
    assert not packable(torch.nn.Linear(3, 3))


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
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "not variant"]
    told = os.environ | {"HERD_MAX_CPU_ISA": most}
    done = subprocess.run(command, env=told, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
