"""The KV cache of the engine: tensors in blocks, which grow with what is asked up to a bound."""

from __future__ import annotations

import torch
from torch import Tensor

from herd.generate.blocks import NULL_BLOCK, BlockPool, block_hash
from herd.generate.requests import CompletionState
from herd.model.cache import PagedKVCache
from herd.model.devices import device_memory, memory_bytes
from herd.model.sizes import Shape

# vLLM's default. Smaller blocks share more and waste less; a kernel reads a block at a time.
BLOCK_SIZE = 16
# What a cache may take of a machine's memory, and of what is free on a GPU when it is made.
_SHARE_OF_MEMORY, _SHARE_OF_GPU = 0.125, 0.25
# What it may take where one text alone wants more.
_MOST_OF_MEMORY, _MOST_OF_GPU = 0.5, 0.9
# Tokens of prompts that a GPU reads at once, padding among them; a longer prompt is read in such pieces.
PREFILL_TOKENS = 8192


class KVCacheManager:
    """Blocks for up to `max_tokens` tokens of all answers together, and which of them each answer and row has.

    A row of `table` is a place in the batch; what stands there beyond a row's blocks is the null block.
    """

    def __init__(self, shape: Shape, rows: int, max_tokens: int, dtype: torch.dtype, device: torch.device) -> None:
        self.shape, self.pool = shape, BlockPool(BLOCK_SIZE)
        # Where a text's length decides how its positions turn, another text's keys are none of its own.
        self.shares_prefixes = not shape.rope_depends_on_length
        self.max_blocks = -(-max_tokens // BLOCK_SIZE) + 1
        self.keys_LBGSE, self.values_LBGSE = (self._blocks(1, dtype, device) for _ in "kv")
        self.table_BN = torch.full((rows, 1), NULL_BLOCK)
        self._table_on_device = self.table_BN if device.type == "cpu" else self.table_BN.to(device)
        self._changed = False

    def allocate(self, answer: CompletionState, *, spare: int) -> bool:
        """Gives an answer blocks for all its tokens, those that are cached among them; False when there would not be
        `spare` left."""
        pool = self.pool
        # The last is read in any case, for what comes after it.
        prefix = pool.match(answer.tokens[:-1] if self.shares_prefixes else [])
        partial = [prefix.partial_block] if prefix.partial_tokens else []
        pool.acquire([*prefix.blocks, *partial])
        num_new = -(-len(answer.tokens) // BLOCK_SIZE) - len(prefix.blocks)
        if not self.reserve(num_new + spare):
            pool.release([*prefix.blocks, *partial])
            return False
        new_blocks = [pool.allocate() for _ in range(num_new)]
        if partial:
            self._copy(partial, new_blocks[:1])
            pool.release(partial)
        answer.blocks = [*prefix.blocks, *new_blocks]
        answer.cached = len(prefix.blocks) * BLOCK_SIZE + prefix.partial_tokens
        answer.output.num_cached_tokens += answer.cached
        for number in range(len(prefix.blocks)):
            answer.chains.append(block_hash(answer.chains[number], _tokens(answer, number, answer.cached)))
        return True

    def share(self, leader: CompletionState, answer: CompletionState) -> bool:
        """Lets an answer with equal tokens have the full blocks of one that was read, and a copy of its last; False
        when none is free for that."""
        full = leader.blocks[: leader.cached // BLOCK_SIZE]
        tail = leader.blocks[len(full) :]
        if not self.reserve(len(tail)):
            return False
        copies = [self.pool.allocate() for _ in tail]
        self._copy(tail, copies)
        self.pool.acquire(full)
        answer.blocks, answer.cached, answer.chains = full + copies, leader.cached, list(leader.chains)
        answer.output.num_cached_tokens += leader.cached
        return True

    def is_full(self, answer: CompletionState) -> bool:
        return answer.cached == len(answer.blocks) * BLOCK_SIZE

    def extend(self, row: int, answer: CompletionState) -> bool:
        """Gives an answer, which stands at this place, a block more; False when none is free."""
        if not self.reserve(1):
            return False
        answer.blocks.append(self.pool.allocate())
        self._widen(len(answer.blocks))
        self.table_BN[row, len(answer.blocks) - 1] = answer.blocks[-1]
        self._changed = True
        return True

    def mark_read(self, answer: CompletionState) -> None:
        """Takes down that the cache holds all tokens of an answer, and lets others find its blocks: when they are read
        together, and from then on whenever a block is full."""
        tokens, first = len(answer.tokens), answer.cached // BLOCK_SIZE
        one_more = tokens - answer.cached == 1
        answer.cached = tokens
        if one_more and tokens % BLOCK_SIZE:
            return
        for number in range(first, -(-tokens // BLOCK_SIZE)):
            part = _tokens(answer, number, tokens)
            self.pool.index(answer.blocks[number], answer.chains[number], part)
            if len(part) == BLOCK_SIZE:
                answer.chains.append(block_hash(answer.chains[number], part))

    def release(self, answer: CompletionState) -> None:
        """Releases the blocks of an answer, which are found until others need them."""
        number = answer.cached // BLOCK_SIZE
        if part := _tokens(answer, number, answer.cached):
            self.pool.index(answer.blocks[number], answer.chains[number], part)
        self.pool.release(answer.blocks)
        answer.blocks, answer.cached, answer.chains = [], 0, answer.chains[:1]

    def reserve(self, blocks: int) -> bool:
        """Whether so many blocks can be given out. More are made, up to the bound, before content is thrown away."""
        short = blocks - self.pool.empty
        if short > 0 and len(self.pool) < self.max_blocks:
            self._grow(min(self.max_blocks, max(2 * len(self.pool), len(self.pool) + short)))
        return self.pool.free >= blocks

    def set_row(self, row: int, blocks: list[int]) -> None:
        self._widen(len(blocks))
        self.table_BN[row, : len(blocks)] = torch.tensor(blocks)
        self.table_BN[row, len(blocks) :] = NULL_BLOCK
        self._changed = True

    def move_row(self, to: int, row: int) -> None:
        """The row's blocks stand at place `to`, and none where it was; the two may be one."""
        if to != row:
            self.table_BN[to] = self.table_BN[row]
        self.table_BN[row] = NULL_BLOCK
        self._changed = True

    def of_rows(self, rows: int, lengths_B: Tensor) -> PagedKVCache:
        """The cache of the first `rows` places."""
        return PagedKVCache(self.keys_LBGSE, self.values_LBGSE, self.table_on_device()[:rows], lengths_B)

    def of_answers(self, answers: list[CompletionState]) -> PagedKVCache:
        """The cache of these answers, wherever they stand."""
        widest = max(len(answer.blocks) for answer in answers)
        table = [[*answer.blocks, *[NULL_BLOCK] * (widest - len(answer.blocks))] for answer in answers]
        device = self.keys_LBGSE.device
        lengths = torch.tensor([answer.cached for answer in answers], device=device)
        return PagedKVCache(self.keys_LBGSE, self.values_LBGSE, torch.tensor(table, device=device), lengths)

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

    def _copy(self, source: list[int], target: list[int]) -> None:
        """Copies blocks."""
        for tensor in (self.keys_LBGSE, self.values_LBGSE) if source else ():
            tensor[:, target] = tensor[:, source]

    def _blocks(self, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Of zeros, because attention by a mask multiplies by what it may not look at."""
        shape = self.shape
        return torch.zeros(
            shape.n_layers, count, shape.n_kv_heads, BLOCK_SIZE, shape.head_dim, dtype=dtype, device=device
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
            max_columns = -(-self.shape.max_seq_len // BLOCK_SIZE)
            wider = torch.full((rows, min(max(2 * columns, blocks), max(max_columns, blocks))), NULL_BLOCK)
            wider[:, :columns] = self.table_BN
            self.table_BN = wider


def _tokens(answer: CompletionState, number: int, end: int) -> tuple[int, ...]:
    """Those of block `number` among the first `end`."""
    return tuple(answer.tokens[number * BLOCK_SIZE : min((number + 1) * BLOCK_SIZE, end)])


def default_cache_tokens(shape: Shape, rows: int, dtype: torch.dtype, device: torch.device) -> int:
    """Tokens that a cache may hold when nothing else is said: `rows` whole contexts, or what fits a part of memory."""
    share = _SHARE_OF_GPU if device.type == "cuda" else _SHARE_OF_MEMORY
    tokens = int(share * _free_bytes(device)) // shape.cache_bytes(dtype.itemsize)
    return max(BLOCK_SIZE, min(rows * shape.max_seq_len, tokens))


def longest_cache_tokens(shape: Shape, dtype: torch.dtype, device: torch.device) -> int:
    """Tokens of the longest text that a cache can be made for: a whole context, or what most of the free memory holds
    beside what reading takes."""
    most = _MOST_OF_GPU if device.type == "cuda" else _MOST_OF_MEMORY
    reading = reading_bytes(shape, PREFILL_TOKENS, dtype.itemsize)
    tokens = int(max(0.0, most * _free_bytes(device) - reading)) // shape.cache_bytes(dtype.itemsize)
    return max(BLOCK_SIZE, min(shape.max_seq_len, tokens))


def cache_bounds(shape: Shape, rows: int, weight: Tensor, tokens: int | None = None) -> tuple[int, int]:
    """Tokens that a cache may hold, and those it may grow to for one longer text. weight: of the model, in whose type
    and place it lies. tokens: that were asked for, which it never exceeds."""
    usual = tokens or default_cache_tokens(shape, rows, weight.dtype, weight.device)
    if tokens is not None or usual >= shape.max_seq_len:
        return usual, usual
    return usual, max(usual, longest_cache_tokens(shape, weight.dtype, weight.device))


def reading_bytes(shape: Shape, tokens: int, itemsize: int) -> float:
    """Bytes that reading `tokens` tokens at once takes beside weights and cache, about: of a block what its parts hand
    on, in `itemsize` bytes a number, and a norm's copies in fp32. No table of pairs of tokens is counted."""
    heads = (shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim
    return tokens * (itemsize * (3 * shape.ffn_dim + 4 * shape.dim + 3 * heads) + 8 * shape.dim)


def _free_bytes(device: torch.device) -> float:
    """Of a GPU what nothing lies in, of a CPU all of the machine's memory."""
    if device.type != "cuda":
        return float(memory_bytes())
    available, held = device_memory(device)
    return available - held
