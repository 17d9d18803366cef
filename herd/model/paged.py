"""Attention of one new token a row over a KV cache in blocks, by a kernel for GPUs."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor

_PART_SLOTS, _MOST_PARTS = 32, 32  # of a cache, that a program goes through


def attend_blocks(
    asked: Tensor, keys: Tensor, values: Tensor, table: Tensor, lengths: Tensor,
    *, turned: tuple[Tensor, Tensor] | None,
) -> Tensor:  # fmt: skip
    """Attention of one new token a row over a cache in blocks, [B, H E].

    keys, values: [blocks, G, S, E]. table: the blocks of each row, [B, N]. turned: cosines and sines by which queries,
    keys and values in `asked`, [B, (H + 2G) E], are turned before they are written; absent, `asked` holds queries
    alone, [B, H E], and the cache the new token. lengths: tokens before it.
    """
    _, groups, size, width = keys.shape
    rows, heads = len(asked), asked.shape[1] // width - (0 if turned is None else 2 * groups)
    sharers, half, slots = heads // groups, width // 2, table.shape[1] * size
    fit, wide = power(sharers), power(half)
    parts = min(_MOST_PARTS, power(-(-slots // _PART_SLOTS)))
    part_slots = -(-slots // parts)
    assert keys.is_contiguous()
    assert values.is_contiguous()
    asked, table = asked.contiguous(), table.contiguous()
    pairs = rows * groups
    mixed = asked.new_empty(rows, heads * width)
    held, tops = mixed, mixed
    if parts > 1:
        held = torch.empty(pairs, parts, fit, 2 * wide, device=asked.device)
        tops = torch.empty(2, pairs, parts, fit, device=asked.device)
    sizes = {"SHARERS": sharers, "FIT": fit, "HALF": half, "WIDE": wide, "PARTS": parts}
    cos, sin = turned or (asked, asked)
    kernels().attend[pairs, parts](
        asked, keys, values, table, lengths, cos, sin, held, tops[0], tops[-1], table.shape[1], part_slots,
        width**-0.5, groups, STEP=max(4, 4096 // (fit * wide)), SIZE=size, NEW=turned is not None, **sizes,
    )  # fmt: skip
    if parts > 1:
        kernels().gather[pairs, sharers](held, tops[0], tops[1], mixed, groups, **sizes)
    return mixed


@cache
def kernels() -> Any:
    """Imported late: Triton takes a second, and is not everywhere."""
    return importlib.import_module("herd.model.streaming")


def power(count: int) -> int:
    """The next power of two."""
    return 1 << (count - 1).bit_length()
