"""Which blocks of a KV cache hold what: given out, shared by count, found again by their tokens, and taken back from
those unused for longest."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# What a block's tokens follow, and the first of its tokens: where the keys and values of just these lie.
_BlockKey = tuple[bytes, tuple[int, ...]]

# What the first block of a text follows.
ROOT_HASH = b""
# Takes what rows that nobody reads write; never given out.
NULL_BLOCK = 0


def block_hash(parent: bytes, tokens: Sequence[int]) -> bytes:
    """A digest of a full block and all before it."""
    return hashlib.blake2b(parent + array("q", tokens).tobytes(), digest_size=16).digest()


@dataclass(frozen=True)
class Prefix:
    """What is cached of a text: whole blocks, and the first `partial_tokens` of one more, which must be copied before
    others may follow them (copy on write)."""

    blocks: tuple[int, ...] = ()
    partial_block: int = NULL_BLOCK
    partial_tokens: int = 0


class BlockPool:
    """Blocks of `block_size` tokens. A block is in use while its count is above zero; after that it keeps its content,
    for texts that begin alike, until it is needed and was unused for longer than the others.

    Source: Kwon et al. 2023 (PagedAttention), 4.3; vLLM's automatic prefix caching.
    Differs: part of a block is found too, as in SGLang's radix tree (Zheng et al. 2024).
    """

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self._counts = [1]  # of the null block
        self._empty: list[int] = []
        self._unused: OrderedDict[int, None] = OrderedDict()
        self._index: dict[_BlockKey, int] = {}
        self._keys: dict[int, list[_BlockKey]] = {}

    def __len__(self) -> int:
        """Blocks there are, the null block among them."""
        return len(self._counts)

    @property
    def empty(self) -> int:
        """Blocks that hold nothing."""
        return len(self._empty)

    @property
    def free(self) -> int:
        """Blocks that may be given out, those with content among them."""
        return len(self._empty) + len(self._unused)

    def grow(self, blocks: int) -> None:
        """Makes them `blocks` in all."""
        self._empty.extend(range(blocks - 1, len(self) - 1, -1))  # low numbers first
        self._counts.extend([0] * (blocks - len(self)))

    def allocate(self) -> int:
        """A block for one text alone; the caller has seen that one is free."""
        if self._empty:
            block = self._empty.pop()
        else:
            block, _ = self._unused.popitem(last=False)
            self._forget(block)
        self._counts[block] = 1
        return block

    def acquire(self, blocks: Iterable[int]) -> None:
        """Counts one more text that uses these."""
        for block in blocks:
            self._counts[block] += 1
            self._unused.pop(block, None)

    def release(self, blocks: Sequence[int]) -> None:
        """Counts one text less; the last blocks of a text are taken back before its first."""
        for block in reversed(blocks):
            self._counts[block] -= 1
            assert self._counts[block] >= 0, "a block was released more often than it was acquired"
            if self._counts[block] == 0 and block in self._keys:
                self._unused[block] = None
            elif self._counts[block] == 0:
                self._empty.append(block)

    def index(self, block: int, parent: bytes, tokens: tuple[int, ...]) -> None:
        """Lets a text find these tokens of a block. parent: the chain up to it."""
        keys = self._keys.setdefault(block, [])
        for count in range(1, len(tokens) + 1):
            key = parent, tokens[:count]
            if key not in self._index:
                self._index[key] = block
                keys.append(key)
        if not keys:
            del self._keys[block]

    def holds(self, parent: bytes, tokens: tuple[int, ...]) -> bool:
        """Whether these tokens of a block are found."""
        return (parent, tokens) in self._index

    def match(self, tokens: Sequence[int]) -> Prefix:
        """The longest part of a text that is cached."""
        blocks: list[int] = []
        parent, size = ROOT_HASH, self.block_size
        for start in range(0, len(tokens), size):
            part = tuple(tokens[start : start + size])
            block = self._index.get((parent, part))
            if block is None or len(part) < size:
                for count in range(len(part), 0, -1):
                    if (partial_block := self._index.get((parent, part[:count]))) is not None:
                        return Prefix(tuple(blocks), partial_block, count)
                break
            blocks.append(block)
            parent = block_hash(parent, part)
        return Prefix(tuple(blocks))

    def forget(self) -> None:
        """Finds nothing of what was read so far, as when the model has changed."""
        self._empty.extend(self._unused)
        self._unused.clear()
        self._index.clear()
        self._keys.clear()

    def _forget(self, block: int) -> None:
        for key in self._keys.pop(block):
            del self._index[key]
