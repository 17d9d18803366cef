"""Context parallel: every rank holds two chunks of a sequence and sees the keys and values of all (3.3.2)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from herd.model.architecture import ALL_FEATURES
from herd.train.layout import UNSUPPORTED_FEATURES, context_chunks


class ContextParallelAttention:
    """Attention of this rank's tokens over the keys and values of all ranks, gathered before it.

    Source: Llama 3, 3.3.2: gathering instead of a ring, because document masks are simple then and keys and values
    are small under grouped queries.
    """

    supported_features = ALL_FEATURES - UNSUPPORTED_FEATURES["context"]

    def __init__(self, group: Any, ranks: int, rank: int) -> None:
        self.group, self.ranks, self.rank = group, ranks, rank

    def positions(self, tokens: int) -> Tensor:
        return self._places(tokens, self.rank)

    def mask(self, documents_BT: Tensor | None, window: int | None = None) -> Any:
        """A function of how many tokens there are: which keys, in the order they are gathered, each may look at."""
        assert window is None, "a layout over context ranks is refused where there is one"
        if documents_BT is None:
            return None
        gathered = [torch.empty_like(documents_BT) for _ in range(self.ranks)]
        dist.all_gather(gathered, documents_BT.contiguous(), group=self.group)
        all_documents_BS = torch.cat(gathered, 1)
        same_BTS = documents_BT[:, :, None] == all_documents_BS[:, None, :]
        return (same_BTS & self._causal(documents_BT.shape[1], documents_BT.device))[:, None]

    def attend(self, q_BHTE: Tensor, k_BGTE: Tensor, v_BGTE: Tensor, mask: Tensor | None) -> Tensor:
        k_BGSE, v_BGSE = _Gather.apply(torch.stack((k_BGTE, v_BGTE)), self.group, self.ranks, self.rank)  # type: ignore[misc]
        if mask is None:
            mask = self._causal(q_BHTE.shape[2], q_BHTE.device)[None, None]
        grouped = q_BHTE.shape[1] != k_BGSE.shape[1]
        return F.scaled_dot_product_attention(q_BHTE, k_BGSE, v_BGSE, attn_mask=mask, enable_gqa=grouped)

    def _causal(self, tokens: int, device: torch.device) -> Tensor:
        keys_S = torch.cat([self._places(tokens, rank) for rank in range(self.ranks)])
        return (keys_S[None, :] <= self.positions(tokens)[:, None]).to(device)

    def _places(self, tokens: int, rank: int) -> Tensor:
        first, second = context_chunks(tokens * self.ranks, self.ranks, rank)
        return torch.tensor([*first, *second])


class _Gather(torch.autograd.Function):
    """Everybody's [.., T, E] one after another along T; on the way back each rank's slopes are added up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any, ranks: int, rank: int) -> Tensor:
        ctx.group, ctx.ranks, ctx.rank = group, ranks, rank
        chunks = [torch.empty_like(x) for _ in range(ranks)]
        dist.all_gather(chunks, x.contiguous(), group=group)
        return torch.cat(chunks, -2)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        total = grads[0].contiguous()
        dist.all_reduce(total, group=ctx.group)
        return total.chunk(ctx.ranks, -2)[ctx.rank], None, None, None
