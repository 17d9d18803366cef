"""Attention of one new token a row over a KV cache in blocks, by a kernel for GPUs."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor

_PART_SLOTS, _MAX_PARTS = 32, 32  # of a cache, that a program goes through


def attend_blocks(
    qkv: Tensor, keys: Tensor, values: Tensor, table: Tensor, lengths: Tensor,
    *, cos_sin: tuple[Tensor, Tensor] | None,
) -> Tensor:  # fmt: skip
    """Attention of one new token a row over a cache in blocks, [B, H E].

    keys, values: [blocks, G, S, E]. table: the blocks of each row, [B, N]. cos_sin: cosines and sines by which queries,
    keys and values in `qkv`, [B, (H + 2G) E], are turned before they are written; absent, `qkv` holds queries
    alone, [B, H E], and the cache the new token. lengths: tokens before it.
    """
    _, groups, size, width = keys.shape
    rows, heads = len(qkv), qkv.shape[1] // width - (0 if cos_sin is None else 2 * groups)
    sharers, half, slots = heads // groups, width // 2, table.shape[1] * size
    fit, wide = next_power_of_two(sharers), next_power_of_two(half)
    parts = min(_MAX_PARTS, next_power_of_two(-(-slots // _PART_SLOTS)))
    part_slots = -(-slots // parts)
    assert keys.is_contiguous()
    assert values.is_contiguous()
    qkv, table = qkv.contiguous(), table.contiguous()
    pairs = rows * groups
    out = qkv.new_empty(rows, heads * width)
    partial_out, tops = out, out
    if parts > 1:
        partial_out = torch.empty(pairs, parts, fit, 2 * wide, device=qkv.device)
        tops = torch.empty(2, pairs, parts, fit, device=qkv.device)
    sizes = {"SHARERS": sharers, "FIT": fit, "HALF": half, "WIDE": wide, "PARTS": parts}
    cos, sin = cos_sin or (qkv, qkv)
    triton_kernels().attend[pairs, parts](
        qkv, keys, values, table, lengths, cos, sin, partial_out, tops[0], tops[-1], table.shape[1], part_slots,
        width**-0.5, groups, STEP=max(4, 4096 // (fit * wide)), SIZE=size, NEW=cos_sin is not None, **sizes,
    )  # fmt: skip
    if parts > 1:
        triton_kernels().gather[pairs, sharers](partial_out, tops[0], tops[1], out, groups, **sizes)
    return out


@cache
def triton_kernels() -> Any:
    """Imported late: Triton takes a second, and is not everywhere."""
    return importlib.import_module("herd.model.triton_kernels")


def next_power_of_two(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()
