"""Attention over a cache in blocks by the kernel for GPUs, in one part and in several, run by Triton's interpreter."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from herd.model.paged import attend_blocks, next_power_of_two
from tests.model.test_triton_kernels import interpret


@given(st.integers(1, 10**6))
def test_the_next_power_of_two_is_the_least_that_holds_as_many(count: int) -> None:
    assert next_power_of_two(count).bit_count() == 1
    assert next_power_of_two(count) // 2 < count <= next_power_of_two(count)


def attention(q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, slots: list[tuple[int, int]]) -> torch.Tensor:
    """One row's heads over these slots (block and place): [H, E]."""
    sharers = len(q) // keys.shape[1]
    k, v = (
        torch.stack([x[block, :, at] for block, at in slots], 1).repeat_interleave(sharers, 0) for x in (keys, values)
    )
    scores = (q[:, None] * k).sum(-1) / q.shape[1] ** 0.5
    return (scores.softmax(-1)[..., None] * v).sum(1)


def farthest(groups: int, sharers: int, width: int, blocks: int, *, new: bool) -> float:
    """The largest difference from the formula, for rows of several lengths; with `new` also in what is written."""
    size, rows, heads = 4, 3, groups * sharers
    chance = torch.Generator().manual_seed(blocks)
    keys, values = (torch.randn(1 + rows * blocks, groups, size, width, generator=chance) for _ in "kv")
    table = 1 + torch.randperm(rows * blocks, generator=chance).view(rows, blocks)
    lengths = torch.tensor([blocks * size - 1, 5, 0])
    q = torch.randn(rows, heads, width, generator=chance)
    k, v = (torch.randn(rows, groups, width, generator=chance) for _ in "kv")
    radians = torch.randn(blocks * size, width // 2, generator=chance)
    cos, sin = radians.cos(), radians.sin()

    def turned(x: torch.Tensor, at: int) -> torch.Tensor:
        first, second = x.chunk(2, -1)
        return torch.cat((first * cos[at] - second * sin[at], second * cos[at] + first * sin[at]), -1)

    expected_keys, expected_values, expected = keys.clone(), values.clone(), []
    for row, length in enumerate(lengths.tolist()):
        slots = [(int(table[row, at // size]), at % size) for at in range(length + 1)]
        if new:
            block, at = slots[-1]
            expected_keys[block, :, at], expected_values[block, :, at] = turned(k[row], length), v[row]
        asked = turned(q[row], length) if new else q[row]
        expected.append(attention(asked, expected_keys, expected_values, slots))
    asked = torch.cat([x.flatten(1) for x in (q, k, v)], 1) if new else q.flatten(1)
    found = attend_blocks(asked, keys, values, table, lengths, cos_sin=(cos, sin) if new else None)
    apart = (found - torch.stack(expected).flatten(1), keys - expected_keys, values - expected_values)
    return max(float(one.abs().max()) for one in apart)


def interpreted() -> None:
    print(max(farthest(*sizes, new=new) for sizes in ((2, 3, 12, 3), (1, 2, 8, 20)) for new in (False, True)))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton, of torch for GPUs")
def test_new_tokens_take_from_their_own_blocks_what_the_formula_says() -> None:
    assert float(interpret("tests.model.test_paged")) < 1e-4
