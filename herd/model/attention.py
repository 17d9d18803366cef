"""Grouped-query attention."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from herd.model.attention_backends import AttentionBackend, DenseMask, Sdpa, attend_last
from herd.model.cache import LastTokens, LayerCache, gather_rows, write_kv
from herd.model.norm import RMSNorm
from herd.model.rope import rotate
from herd.model.sizes import Shape


class Attention(nn.Module):
    """Query heads share key/value heads in groups of H/G.

    Source: Ainslie et al. 2023; Llama 3, 3.2; for biases and norms of queries and keys see Architecture.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.head_dim = shape.head_dim
        self.attention_backend: AttentionBackend = Sdpa()
        architecture = shape.architecture
        queries, keys = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
        self.query = nn.Linear(shape.dim, queries, bias=architecture.qkv_bias)
        self.key = nn.Linear(shape.dim, keys, bias=architecture.qkv_bias)
        self.value = nn.Linear(shape.dim, keys, bias=architecture.qkv_bias)
        self.output = nn.Linear(queries, shape.dim, bias=architecture.output_bias)
        self.qk_norm = architecture.qk_norm
        if architecture.qk_norm != "none":
            dims = (shape.head_dim,) * 2 if architecture.qk_norm == "head" else (queries, keys)
            self.query_norm, self.key_norm = (RMSNorm(dim, shape.norm_eps) for dim in dims)

    def forward(self, x_BTD: Tensor, cos: Tensor, sin: Tensor, mask: Any, cache: LayerCache | None) -> Tensor:
        """mask: what `attention_backend` made, or a table; with a cache, true where a token may look."""
        q_BTD, k_BTD = self.query(x_BTD), self.key(x_BTD)
        if self.qk_norm == "width":
            q_BTD, k_BTD = self.query_norm(q_BTD), self.key_norm(k_BTD)
        q_BHTE, k_BGTE, v_BGTE = self._split(q_BTD), self._split(k_BTD), self._split(self.value(x_BTD))
        if self.qk_norm == "head":
            q_BHTE, k_BGTE = self.query_norm(q_BHTE), self.key_norm(k_BGTE)
        q_BHTE, k_BGTE = rotate(q_BHTE, cos, sin), rotate(k_BGTE, cos, sin)
        if isinstance(mask, DenseMask):
            out_BHTE = _SDPA.attend(q_BHTE, k_BGTE, v_BGTE, mask.may_look)
        elif cache is None:
            out_BHTE = self.attention_backend.attend(q_BHTE, k_BGTE, v_BGTE, mask)
        else:
            write_kv(cache, k_BGTE, v_BGTE)
            out_BHTE = _over_cache(q_BHTE, cache, mask)
        return self.output(out_BHTE.transpose(1, 2).flatten(2))

    def _split(self, x_BTD: Tensor) -> Tensor:
        """By heads; a device that holds some of the heads has just those."""
        batch, tokens, _ = x_BTD.shape
        return x_BTD.view(batch, tokens, -1, self.head_dim).transpose(1, 2)


_SDPA = Sdpa()  # tables, and caches of another length every time, suit the others badly


def _over_cache(q_BHTE: Tensor, cache: LayerCache, mask: Tensor | LastTokens | None) -> Tensor:
    """What new tokens take from all slots they may look at; without a mask by our own kernel."""
    if isinstance(mask, LastTokens):
        return attend_last(q_BHTE, *(x[:, :, : mask.slots] for x in gather_rows(cache)))
    if mask is not None:
        k_BGSE, v_BGSE = (x[:, :, : mask.shape[-1]] for x in gather_rows(cache))
        return _SDPA.attend(q_BHTE, k_BGSE, v_BGSE, mask)
    from herd.model.blockwise import attend_cached

    return attend_cached(q_BHTE, *cache)
