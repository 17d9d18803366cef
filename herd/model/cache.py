"""Keys and values of tokens already read, in blocks that rows may share."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import torch
from torch import Tensor

from herd.model.kernels import cpu_kernels
from herd.model.sizes import Shape

# Keys and values of one layer in blocks, [B, G, S, E], the blocks of each row, and where new tokens go, [rows, T].
LayerCache = tuple[Tensor, Tensor, Tensor, Tensor]


def write_kv(cache: LayerCache, keys_BGTE: Tensor, values_BGTE: Tensor) -> None:
    """Stores new keys and values of each row."""
    keys_BGSE, values_BGSE, table_BN, positions_BT = cache
    size = keys_BGSE.shape[2]
    blocks_BT = table_BN.gather(1, positions_BT // size)
    # Advanced indices put rows and positions first: [B, T, G, E].
    keys_BGSE[blocks_BT, :, positions_BT % size] = keys_BGTE.transpose(1, 2)
    values_BGSE[blocks_BT, :, positions_BT % size] = values_BGTE.transpose(1, 2)


def gather_rows(cache: LayerCache) -> tuple[Tensor, Tensor]:
    """Keys and values with those of a row side by side, copied: each [rows, G, S, E]."""
    keys_BGSE, values_BGSE, table_BN, _ = cache
    keys, values = (x[table_BN].transpose(1, 2).flatten(2, 3) for x in (keys_BGSE, values_BGSE))
    return keys, values


@dataclass(frozen=True)
class LastTokens:
    """In the place of a table: new tokens are the last of the first `slots` slots of the only row, and each looks at
    all up to its own."""

    slots: int


@dataclass
class PagedKVCache:
    """A KV cache in blocks of S tokens. keys_LBGSE, values_LBGSE: what was read, in B blocks; table_BN: the blocks of
    each row, in order, int64 [rows, N]; lengths_B: how many tokens of each row count. long_row: there is one row, for
    which a table of who may look where would be too large.

    Source: Kwon et al. 2023 (PagedAttention), 4.2.
    """

    keys_LBGSE: Tensor
    values_LBGSE: Tensor
    table_BN: Tensor
    lengths_B: Tensor
    long_row: bool = False

    @classmethod
    def empty(cls, shape: Shape, batch: int, cache_len: int, dtype: torch.dtype, device: torch.device) -> PagedKVCache:
        """Room for `cache_len` tokens a row, each row in one block of its own."""
        size = (shape.n_layers, batch, shape.n_kv_heads, cache_len, shape.head_dim)
        return cls(
            torch.zeros(size, dtype=dtype, device=device),
            torch.zeros(size, dtype=dtype, device=device),
            torch.arange(batch, device=device)[:, None],
            torch.zeros(batch, dtype=torch.long, device=device),
        )

    @property
    def block_size(self) -> int:
        return self.keys_LBGSE.shape[3]

    @property
    def cache_len(self) -> int:
        """Tokens that a row has room for."""
        return self.table_BN.shape[1] * self.block_size

    def positions(self, tokens: int) -> Tensor:
        """Positions of the next `tokens` of every row: [B, T]."""
        return self.lengths_B[:, None] + torch.arange(tokens, device=self.lengths_B.device)

    def layer(self, number: int, positions_BT: Tensor, kv_len: int) -> LayerCache:
        """The part of one layer, of which the first `kv_len` slots count."""
        blocks = -(-kv_len // self.block_size)
        return self.keys_LBGSE[number], self.values_LBGSE[number], self.table_BN[:, :blocks], positions_BT

    def mask(self, positions_BT: Tensor, kv_len: int, window: int | None = None) -> Tensor | LastTokens | None:
        """Which of the first `kv_len` slots each new token may look at: [B, 1, T, S], true where it may; None where
        a kernel of our own attends, which needs only the positions and knows no window."""
        if window is None and self._has_kernel(positions_BT.shape[1]):
            return None
        if window is None and self.long_row:
            return LastTokens(int(positions_BT[0, -1]) + 1)
        slots_S = torch.arange(kv_len, device=positions_BT.device)
        may_look_BTS = slots_S <= positions_BT[:, :, None]
        if window is not None:
            may_look_BTS &= slots_S > positions_BT[:, :, None] - window
        return may_look_BTS[:, None]

    def _has_kernel(self, tokens: int) -> bool:
        device_type = self.keys_LBGSE.device.type
        if device_type == "cuda":
            return tokens == 1 and importlib.util.find_spec("triton") is not None
        return device_type == "cpu" and self.keys_LBGSE.dtype == torch.float32 and cpu_kernels() is not None
