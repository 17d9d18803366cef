"""Attention by our own kernel: PyTorch's numbers and slopes, over whole rows and over caches in blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from herd.model.attention_backends import Blockwise, Sdpa
from herd.model.blockwise import attend, attend_cached
from herd.model.kernels import cpu_kernels

pytestmark = pytest.mark.skipif(cpu_kernels() is None, reason="needs a C++ compiler")


@given(st.sampled_from([(1, 1), (4, 2), (6, 3)]), st.integers(1, 4), st.integers(1, 5), st.sampled_from([1, 4, 16]))
def test_new_tokens_over_a_cache_take_what_they_may_look_at(
    heads: tuple[int, int], rows: int, tokens: int, block_size: int
) -> None:
    (queries, groups), width, blocks = heads, 8, -(-24 // block_size)
    chance = torch.Generator().manual_seed(rows * tokens)
    keys, values = (torch.randn(rows * blocks, groups, block_size, width, generator=chance) for _ in "kv")
    table = torch.randperm(rows * blocks, generator=chance).view(rows, blocks)
    q = torch.randn(rows, queries, tokens, width, generator=chance)
    lengths = torch.randint(0, 24 - tokens + 1, (rows,), generator=chance)
    found = attend_cached(q, keys, values, table, lengths[:, None] + torch.arange(tokens))
    for row, length in enumerate(lengths.tolist()):
        slots = table[row].repeat_interleave(block_size), torch.arange(block_size).repeat(blocks)
        k, v = (
            x[slots[0], :, slots[1]].transpose(0, 1).repeat_interleave(queries // groups, 0) for x in (keys, values)
        )
        for token in range(tokens):
            end = length + token + 1
            scores = (q[row, :, token, None] * k[:, :end]).sum(-1) / width**0.5
            wanted = (scores.softmax(-1)[..., None] * v[:, :end]).sum(1)
            assert torch.allclose(found[row, :, token], wanted, atol=1e-5)


def test_tensors_that_lie_otherwise_give_the_same() -> None:
    q, k, v = torch.randn(1, 4, 8, 9), torch.randn(1, 2, 8, 9), torch.randn(1, 2, 8, 9)
    q, k, v = (x.transpose(2, 3) for x in (q, k, v))  # widths do not lie side by side
    assert torch.equal(attend(q, k, v, None), attend(q.contiguous(), k.contiguous(), v.contiguous(), None))


def test_pytorch_traces_it_as_an_operator_with_the_shapes_it_gives() -> None:
    q, k = torch.randn(2, 4, 9, 8), torch.randn(2, 2, 9, 8)
    real = torch.ops.herd.attend(q, k, k, None)
    fake = torch.ops.herd.attend(q.to("meta"), k.to("meta"), k.to("meta"), None)
    for ours, said in zip(real, fake, strict=True):
        assert (ours.shape, ours.stride()) == (said.shape, said.stride())


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
