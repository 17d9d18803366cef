"""The loss of the next token without ever holding the logits of all tokens: a 128k vocabulary would fill the memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from herd.core.errors import DataError
from herd.model.kernels import address, library, loaded
from herd.model.products import product
from herd.train.batches import IGNORED
from herd.train.layout import logit_rows


def cross_entropy(
    hidden_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, *, z: float = 0.0, group: Any = None
) -> tuple[Tensor, Tensor]:
    """Nats summed over all targets, and each token's own, [B, T] (zero where there is no target; not for gradients).

    z: adds z times the squared log of the softmax's sum for every target, which keeps logits from drifting
    (Chowdhery et al. 2022, PaLM, section 5). group: the ranks that hold one piece of the vocabulary each, in order.
    Logits are made and used up a few rows at a time, gradients with them, and rows without a target are left out.
    Source: the gradient p - onehot(target); in chunks as Wijmans et al. 2024 (Cut Your Losses), section 4.
    """
    if torch.is_autocast_enabled(hidden_BTD.device.type):
        hidden_BTD = hidden_BTD.to(torch.get_autocast_dtype(hidden_BTD.device.type))
    total, each = _Chunked.apply(hidden_BTD.flatten(0, 1), weight_VD, targets_BT.flatten(), z, group)  # type: ignore[misc]
    return total, each.view(targets_BT.shape)


class _Chunked(torch.autograd.Function):
    """Forward and backward in one: both want the same logits."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, z: float, group: Any) -> Any:
        kept = (targets_N != IGNORED).nonzero().flatten()
        every = len(kept) == len(hidden_ND)
        rows, wanted = (hidden_ND, targets_N) if every else (hidden_ND[kept], targets_N[kept])
        matrix = weight_VD.to(hidden_ND.dtype)
        slopes = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        slope_rows = torch.empty_like(rows) if slopes else None
        slope_matrix = torch.zeros_like(weight_VD, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        each = torch.zeros(len(rows), device=rows.device)
        penalty = rows.new_zeros((), dtype=torch.float32)
        chunk = chunk_by(rows.device.type, len(weight_VD), group)
        size = logit_rows(len(weight_VD), rows.device.type)
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            logits = logits_of(rows[part], matrix)
            each[part], penalty_part, slope = chunk(logits, wanted[part], z, group, slopes)
            penalty += penalty_part
            if slope_rows is not None:
                slope = slope.to(rows.dtype)
                product(slope, matrix, slope_rows[part])
            if slope_matrix is not None:
                add_product(slope_matrix, slope.T, rows[part])
        if group is not None and slope_rows is not None:
            dist.all_reduce(slope_rows, group=group)
        ctx.save_for_backward(kept, slope_rows, slope_matrix)
        ctx.count, ctx.type = len(hidden_ND), weight_VD.dtype
        all_tokens = torch.zeros(len(hidden_ND), device=rows.device)
        all_tokens[kept] = each
        ctx.mark_non_differentiable(all_tokens)
        return each.sum() + penalty, all_tokens

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        kept, slope_rows, slope_matrix = ctx.saved_tensors
        slope_hidden = slope_rows.mul_(slopes[0].to(slope_rows.dtype))
        if len(kept) < ctx.count:
            slope_hidden = slope_rows.new_zeros(ctx.count, slope_rows.shape[1]).index_copy(0, kept, slope_hidden)
        by_matrix = None if slope_matrix is None else slope_matrix.mul_(slopes[0]).to(ctx.type)
        return slope_hidden, by_matrix, None, None, None


def logits_of(rows_ND: Tensor, matrix_VD: Tensor) -> Tensor:
    """Logits of some rows, which may be overwritten: [N, V]."""
    return product(rows_ND, matrix_VD.T, rows_ND.new_empty(len(rows_ND), len(matrix_VD)))


def add_product(sum_VD: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds a product to a sum in fp32."""
    if a.dtype == sum_VD.dtype:
        product(a, b, sum_VD, add=True)
    elif sum_VD.device.type == "cuda":  # 16-bit products that are summed in fp32, and never written in 16 bits
        torch.addmm(sum_VD, a, b, out_dtype=sum_VD.dtype, out=sum_VD)
    else:
        sum_VD += a @ b


# Words from which on the logits take so long on a GPU that compiling for them is made up for.
_WORTH_COMPILING = 16_384
Chunk = Callable[[Tensor, Tensor, float, Any, bool], tuple[Tensor, Tensor, Tensor]]


def chunk_by(device: str, vocabulary: int, group: Any) -> Chunk:
    """How a chunk is gone through fastest."""
    if group is None and device == "cpu" and library() is not None:
        return _chunk_here
    return _chunk_at_once if group is None and device == "cuda" and vocabulary >= _WORTH_COMPILING else _chunk


def _chunk_here(logits: Tensor, wanted: Tensor, z: float, group: None, slopes: bool) -> tuple[Tensor, Tensor, Tensor]:
    """As `_chunk`, by a kernel of our own: each row is gone over while it is in the cache."""
    logits = logits.float()
    rows, columns = logits.shape
    if wrong := [target for target in (int(wanted.min()), int(wanted.max())) if not 0 <= target < columns]:
        raise DataError(f"target {wrong[0]} is no token of a vocabulary of {columns}; pack the text again")
    each, logs = logits.new_empty(rows), logits.new_empty(rows)
    wanted = wanted.contiguous()
    sizes = ctypes.c_int64(rows), ctypes.c_int64(columns)
    outs = address(each), address(logs)
    loaded().herd_losses(address(logits), *sizes, address(wanted), ctypes.c_float(z), int(slopes), *outs)
    return each, z * logs.square().sum(), logits


def _chunk_at_once(
    logits: Tensor, wanted: Tensor, z: float, group: None, slopes: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_chunk`, by two compiled kernels that read logits and write slopes in the type they have."""
    torch._dynamo.maybe_mark_dynamic(logits, 0)
    torch._dynamo.maybe_mark_dynamic(wanted, 0)
    return _compiled()(logits, wanted, z, slopes)


@cache
def _compiled() -> Any:
    return torch.compile(_softmax_slopes)


def _softmax_slopes(logits: Tensor, wanted: Tensor, z: float, slopes: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Written for a compiler, which makes one kernel of each line or two."""
    exact = logits.float()
    log_total = exact.logsumexp(-1)
    each = log_total - exact.gather(-1, wanted[:, None]).squeeze(-1)
    penalty = z * log_total.square().sum()
    if not slopes:
        return each, penalty, logits
    columns = torch.arange(logits.shape[1], device=logits.device)
    weights = (exact - log_total[:, None]).exp() * (1 + 2 * z * log_total)[:, None]
    return each, penalty, (weights - (columns == wanted[:, None]).float()).to(logits.dtype)


def _chunk(logits: Tensor, wanted: Tensor, z: float, group: Any, slopes: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's nats, the penalty summed, and the slopes of both by the logits, which are overwritten."""
    logits = logits.float()
    highest = logits.max(-1).values
    if group is not None:
        dist.all_reduce(highest, op=dist.ReduceOp.MAX, group=group)
        wanted = wanted - dist.get_rank(group) * logits.shape[1]
    here = (wanted >= 0) & (wanted < logits.shape[1])
    column = wanted.clamp(0, logits.shape[1] - 1)[:, None]
    picked = torch.where(here, logits.gather(-1, column).squeeze(-1), 0.0)
    weights = logits.sub_(highest[:, None]).exp_()
    total = weights.sum(-1)
    if group is not None:
        both = torch.stack((total, picked))
        dist.all_reduce(both, group=group)
        total, picked = both[0], both[1]
    log_total = total.log() + highest
    if slopes:
        weights.mul_(((1 + 2 * z * log_total) / total)[:, None])
        weights.scatter_add_(-1, column, -here.to(weights.dtype)[:, None])
    return log_total - picked, z * log_total.square().sum(), weights
