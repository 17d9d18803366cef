"""Grouped-query attention and the masks it works under."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from herd.model.cache import Cache
from herd.model.rope import rotate
from herd.model.sizes import Shape


def document_mask(documents_BT: Tensor) -> Tensor:
    """True where a token may look: not ahead, and only inside its own document: [B, 1, T, T].

    Source: Llama 3, 3.2.
    """
    tokens = documents_BT.shape[1]
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    causal_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=documents_BT.device).tril()
    return (same_BTT & causal_TT)[:, None]


class Attention(nn.Module):
    """Query heads share key/value heads in groups of H/G; no biases.

    Source: Ainslie et al. 2023; Llama 3, 3.2.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = shape.heads, shape.kv_heads, shape.head_width
        self.query = nn.Linear(shape.width, shape.heads * shape.head_width, bias=False)
        self.key = nn.Linear(shape.width, shape.kv_heads * shape.head_width, bias=False)
        self.value = nn.Linear(shape.width, shape.kv_heads * shape.head_width, bias=False)
        self.output = nn.Linear(shape.heads * shape.head_width, shape.width, bias=False)

    def forward(
        self, x_BTD: Tensor, cos: Tensor, sin: Tensor, mask: Tensor | None, cache: tuple[Cache, int, Tensor] | None
    ) -> Tensor:
        """mask: true where a token may look, None for plain causal. cache: the cache, the number of this
        layer in it, and the positions of the new tokens."""
        q_BHTE = rotate(self._split(self.query(x_BTD), self.heads), cos, sin)
        k_BGTE = rotate(self._split(self.key(x_BTD), self.kv_heads), cos, sin)
        v_BGTE = self._split(self.value(x_BTD), self.kv_heads)
        if cache is not None:
            k_BGTE, v_BGTE = cache[0].write(cache[1], cache[2], k_BGTE, v_BGTE)
        mixed_BHTE = F.scaled_dot_product_attention(
            q_BHTE,
            k_BGTE,
            v_BGTE,
            attn_mask=mask,
            is_causal=mask is None,
            enable_gqa=self.heads != self.kv_heads,
        )
        return self.output(mixed_BHTE.transpose(1, 2).flatten(2))

    def _split(self, x_BTD: Tensor, heads: int) -> Tensor:
        batch, tokens, _ = x_BTD.shape
        return x_BTD.view(batch, tokens, heads, self.head_width).transpose(1, 2)
