"""The KV cache of the engine: tensors in blocks, which grow with what is asked up to a bound."""

from __future__ import annotations

import torch
from torch import Tensor

from herd.generate.blocks import NULL_BLOCK, BlockPool
from herd.generate.requests import Answer
from herd.model.cache import Cache
from herd.model.devices import memory_bytes
from herd.model.sizes import Shape

# vLLM's default. Smaller blocks share more and waste less; a kernel reads a block at a time.
BLOCK_SIZE = 16
# What a cache may take of a machine's memory, and of what is free on a GPU when it is made.
_SHARE_OF_MEMORY, _SHARE_OF_GPU = 0.125, 0.25


class KVCache:
    """Blocks for up to `most_tokens` tokens of all answers together, and which of them each row has.

    A row of `table` is a place in the batch; what stands there beyond a row's blocks is the null block.
    """

    def __init__(self, shape: Shape, rows: int, most_tokens: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.pool = shape, BlockPool(BLOCK_SIZE)
        self.most_blocks = -(-most_tokens // BLOCK_SIZE) + 1
        self.keys_LBGSE, self.values_LBGSE = (self._blocks(1, dtype, device) for _ in "kv")
        self.table_BN = torch.full((rows, 1), NULL_BLOCK)
        self._table_on_device = self.table_BN if device.type == "cpu" else self.table_BN.to(device)
        self._changed = False

    def reserve(self, blocks: int) -> bool:
        """Whether so many blocks can be given out. More are made, up to the bound, before content is thrown away."""
        short = blocks - self.pool.empty
        if short > 0 and len(self.pool) < self.most_blocks:
            self._grow(min(self.most_blocks, max(2 * len(self.pool), len(self.pool) + short)))
        return self.pool.free >= blocks

    def set_row(self, row: int, blocks: list[int]) -> None:
        self._widen(len(blocks))
        self.table_BN[row, : len(blocks)] = torch.tensor(blocks)
        self.table_BN[row, len(blocks) :] = NULL_BLOCK
        self._changed = True

    def add_block(self, row: int, number: int, block: int) -> None:
        """Block `number` of a row."""
        self._widen(number + 1)
        self.table_BN[row, number] = block
        self._changed = True

    def move_row(self, to: int, row: int) -> None:
        """The row's blocks stand at place `to`, and none where it was; the two may be one."""
        if to != row:
            self.table_BN[to] = self.table_BN[row]
        self.table_BN[row] = NULL_BLOCK
        self._changed = True

    def copy(self, pairs: list[tuple[int, int]]) -> None:
        """Copies the first block of each pair to the second."""
        if pairs:
            source, target = torch.tensor(pairs, device=self.keys_LBGSE.device).T
            for held in (self.keys_LBGSE, self.values_LBGSE):
                held[:, target] = held[:, source]

    def of_rows(self, rows: int, lengths_B: Tensor) -> Cache:
        """The cache of the first `rows` places."""
        return Cache(self.keys_LBGSE, self.values_LBGSE, self.table_on_device()[:rows], lengths_B)

    def of_answers(self, answers: list[Answer]) -> Cache:
        """The cache of these answers, wherever they stand."""
        widest = max(len(answer.blocks) for answer in answers)
        table = [[*answer.blocks, *[NULL_BLOCK] * (widest - len(answer.blocks))] for answer in answers]
        device = self.keys_LBGSE.device
        lengths = torch.tensor([answer.cached for answer in answers], device=device)
        return Cache(self.keys_LBGSE, self.values_LBGSE, torch.tensor(table, device=device), lengths)

    def table_on_device(self) -> Tensor:
        """The table where the model reads it; the same memory as long as the table is no wider."""
        if self.keys_LBGSE.device.type == "cpu":
            return self.table_BN
        if self._table_on_device.shape != self.table_BN.shape:
            self._table_on_device = self.table_BN.to(self.keys_LBGSE.device)
        elif self._changed:
            self._table_on_device.copy_(self.table_BN)
        self._changed = False
        return self._table_on_device

    @property
    def nbytes(self) -> int:
        return self.keys_LBGSE.nbytes + self.values_LBGSE.nbytes

    def _blocks(self, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Of zeros, because attention by a mask multiplies by what it may not look at."""
        shape = self.shape
        return torch.zeros(
            shape.layers, count, shape.kv_heads, BLOCK_SIZE, shape.head_width, dtype=dtype, device=device
        )

    def _grow(self, blocks: int) -> None:
        for name in ("keys_LBGSE", "values_LBGSE"):
            old: Tensor = getattr(self, name)
            new = self._blocks(blocks, old.dtype, old.device)
            new[:, : len(self.pool)] = old
            setattr(self, name, new)
            del old
        self.pool.grow(blocks)

    def _widen(self, blocks: int) -> None:
        rows, columns = self.table_BN.shape
        if blocks > columns:
            most = -(-self.shape.context // BLOCK_SIZE)
            wider = torch.full((rows, min(max(2 * columns, blocks), max(most, blocks))), NULL_BLOCK)
            wider[:, :columns] = self.table_BN
            self.table_BN = wider


def fitting_tokens(shape: Shape, rows: int, dtype: torch.dtype, device: torch.device) -> int:
    """Tokens that a cache may hold when nothing else is said: `rows` whole contexts, or what fits a part of memory."""
    if device.type == "cuda":
        there = _SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]
    else:
        there = _SHARE_OF_MEMORY * memory_bytes()
    return max(BLOCK_SIZE, min(rows * shape.context, int(there) // shape.cache_bytes(dtype.itemsize)))
