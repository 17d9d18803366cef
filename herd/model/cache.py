"""Keys and values of tokens already read."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from herd.model.kernels import library
from herd.model.sizes import Shape

# Keys and values of one layer, [B, G, S, E], and where new ones go, [B, T].
LayerCache = tuple[Tensor, Tensor, Tensor]


def write(cache: LayerCache, keys_BGTE: Tensor, values_BGTE: Tensor) -> tuple[Tensor, Tensor]:
    """Stores new keys and values and returns all of the layer's: each [B, G, S, E]."""
    keys_BGSE, values_BGSE, positions_BT = cache
    rows_B1 = torch.arange(positions_BT.shape[0], device=positions_BT.device)[:, None]
    # Advanced indices put rows and positions first: [B, T, G, E].
    keys_BGSE[rows_B1, :, positions_BT] = keys_BGTE.transpose(1, 2)
    values_BGSE[rows_B1, :, positions_BT] = values_BGTE.transpose(1, 2)
    return keys_BGSE, values_BGSE


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

    def layer(self, number: int, positions_BT: Tensor, reach: int) -> LayerCache:
        """The part of one layer, of which the first `reach` slots count."""
        return self.keys_LBGSE[number, :, :, :reach], self.values_LBGSE[number, :, :, :reach], positions_BT

    def mask(self, positions_BT: Tensor, reach: int, window: int | None = None) -> Tensor | None:
        """Which of the first `reach` slots each new token may look at: [B, 1, T, S], true where it may; None where
        our own kernel attends, which needs only the positions and knows no window."""
        plain = self.keys_LBGSE.device.type == "cpu" and self.keys_LBGSE.dtype == torch.float32
        if plain and window is None and library() is not None:
            return None
        slots_S = torch.arange(reach, device=positions_BT.device)
        may_look_BTS = slots_S <= positions_BT[:, :, None]
        if window is not None:
            may_look_BTS &= slots_S > positions_BT[:, :, None] - window
        return may_look_BTS[:, None]

    def keep(self, rows: Tensor) -> Cache:
        """Only these rows, for when the others have finished."""
        return Cache(self.keys_LBGSE[:, rows], self.values_LBGSE[:, rows], self.lengths_B[rows])
