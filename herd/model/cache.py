"""Keys and values of tokens already read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from herd.model.sizes import Shape


@dataclass
class Cache:
    """Room for `S` tokens a row. keys_LBGSE, values_LBGSE: what was read; lengths_B: how much of it counts."""

    keys_LBGSE: Tensor
    values_LBGSE: Tensor
    lengths_B: Tensor

    @classmethod
    def empty(cls, shape: Shape, batch: int, slots: int, dtype: torch.dtype, device: torch.device) -> Cache:
        size = (shape.layers, batch, shape.kv_heads, slots, shape.head_width)
        return cls(
            torch.zeros(size, dtype=dtype, device=device),
            torch.zeros(size, dtype=dtype, device=device),
            torch.zeros(batch, dtype=torch.long, device=device),
        )

    @property
    def slots(self) -> int:
        return self.keys_LBGSE.shape[3]

    def positions(self, tokens: int) -> Tensor:
        """Positions of the next `tokens` of every row: [B, T]."""
        return self.lengths_B[:, None] + torch.arange(tokens, device=self.lengths_B.device)

    def write(self, layer: int, positions_BT: Tensor, keys_BGTE: Tensor, values_BGTE: Tensor) -> tuple[Tensor, Tensor]:
        """Stores the new keys and values and returns all of the layer's: each [B, G, S, E]."""
        rows_B1 = torch.arange(positions_BT.shape[0], device=positions_BT.device)[:, None]
        # Advanced indices put rows and positions first: [B, T, G, E].
        self.keys_LBGSE[layer][rows_B1, :, positions_BT] = keys_BGTE.transpose(1, 2)
        self.values_LBGSE[layer][rows_B1, :, positions_BT] = values_BGTE.transpose(1, 2)
        return self.keys_LBGSE[layer], self.values_LBGSE[layer]

    def mask(self, positions_BT: Tensor) -> Tensor:
        """Which slots each new token may look at: [B, 1, T, S], true where it may."""
        slots_S = torch.arange(self.slots, device=positions_BT.device)
        return (slots_S <= positions_BT[:, :, None])[:, None]

    def keep(self, rows: Tensor) -> Cache:
        """Only these rows, for when the others have finished."""
        return Cache(self.keys_LBGSE[:, rows], self.values_LBGSE[:, rows], self.lengths_B[rows])
