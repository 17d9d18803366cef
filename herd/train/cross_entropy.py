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
from herd.model.kernels import address, cpu_kernels, require_cpu_kernels
from herd.model.products import matmul
from herd.train.batches import IGNORE_INDEX
from herd.train.layout import logit_rows


def cross_entropy(
    hidden_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor, *, z_loss: float = 0.0, group: Any = None
) -> tuple[Tensor, Tensor]:
    """Nats summed over all targets, and each token's own, [B, T] (zero where there is no target; not for gradients).

    z_loss: adds z times the squared log of the softmax's sum for every target, which keeps logits from drifting
    (Chowdhery et al. 2022, PaLM, section 5). group: the ranks that hold one piece of the vocabulary each, in order.
    Logits are made and used up a few rows at a time, gradients with them, and rows without a target are left out.
    Source: the gradient p - onehot(target); in chunks as Wijmans et al. 2024 (Cut Your Losses), section 4.
    """
    if torch.is_autocast_enabled(hidden_BTD.device.type):
        hidden_BTD = hidden_BTD.to(torch.get_autocast_dtype(hidden_BTD.device.type))
    total, token_nats = _ChunkedCrossEntropy.apply(
        hidden_BTD.flatten(0, 1), weight_VD, targets_BT.flatten(), z_loss, group
    )  # type: ignore[misc]
    return total, token_nats.view(targets_BT.shape)


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Forward and backward in one: both want the same logits."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, z_loss: float, group: Any) -> Any:
        target_index = (targets_N != IGNORE_INDEX).nonzero().flatten()
        all_have_targets = len(target_index) == len(hidden_ND)
        rows, targets = (
            (hidden_ND, targets_N) if all_have_targets else (hidden_ND[target_index], targets_N[target_index])
        )
        matrix = weight_VD.to(hidden_ND.dtype)
        needs_grads = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        grad_rows = torch.empty_like(rows) if needs_grads else None
        grad_matrix = torch.zeros_like(weight_VD, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        token_nats = torch.zeros(len(rows), device=rows.device)
        penalty = rows.new_zeros((), dtype=torch.float32)
        chunk = chunk_function(rows.device.type, len(weight_VD), group)
        size = logit_rows(len(weight_VD), rows.device.type)
        for start in range(0, len(rows), size):
            part = slice(start, start + size)
            logits = logits_of(rows[part], matrix)
            token_nats[part], penalty_part, grad_logits = chunk(logits, targets[part], z_loss, group, needs_grads)
            penalty += penalty_part
            if grad_rows is not None:
                grad_logits = grad_logits.to(rows.dtype)
                matmul(grad_logits, matrix, grad_rows[part])
            if grad_matrix is not None:
                add_product(grad_matrix, grad_logits.T, rows[part])
        if group is not None and grad_rows is not None:
            dist.all_reduce(grad_rows, group=group)
        ctx.save_for_backward(target_index, grad_rows, grad_matrix)
        ctx.count, ctx.type = len(hidden_ND), weight_VD.dtype
        all_tokens = torch.zeros(len(hidden_ND), device=rows.device)
        all_tokens[target_index] = token_nats
        ctx.mark_non_differentiable(all_tokens)
        return token_nats.sum() + penalty, all_tokens

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        target_index, grad_rows, grad_matrix = ctx.saved_tensors
        grad_hidden = grad_rows.mul_(grads[0].to(grad_rows.dtype))
        if len(target_index) < ctx.count:
            grad_hidden = grad_rows.new_zeros(ctx.count, grad_rows.shape[1]).index_copy(0, target_index, grad_hidden)
        grad_weight = None if grad_matrix is None else grad_matrix.mul_(grads[0]).to(ctx.type)
        return grad_hidden, grad_weight, None, None, None


def logits_of(rows_ND: Tensor, matrix_VD: Tensor) -> Tensor:
    """Logits of some rows, which may be overwritten: [N, V]."""
    return matmul(rows_ND, matrix_VD.T, rows_ND.new_empty(len(rows_ND), len(matrix_VD)))


def add_product(sum_VD: Tensor, a: Tensor, b: Tensor) -> None:
    """Adds a product to a sum in fp32."""
    if a.dtype == sum_VD.dtype:
        matmul(a, b, sum_VD, add=True)
    elif sum_VD.device.type == "cuda":  # 16-bit products that are summed in fp32, and never written in 16 bits
        torch.addmm(sum_VD, a, b, out_dtype=sum_VD.dtype, out=sum_VD)
    else:
        sum_VD += a @ b


# Words from which on the logits take so long on a GPU that compiling for them is made up for.
_WORTH_COMPILING = 16_384
ChunkLoss = Callable[[Tensor, Tensor, float, Any, bool], tuple[Tensor, Tensor, Tensor]]


def chunk_function(device: str, vocabulary: int, group: Any) -> ChunkLoss:
    """How a chunk is gone through fastest."""
    if group is None and device == "cpu" and cpu_kernels() is not None:
        return _chunk_native
    return _chunk_compiled if group is None and device == "cuda" and vocabulary >= _WORTH_COMPILING else _chunk


def _chunk_native(
    logits: Tensor, targets: Tensor, z_loss: float, group: None, needs_grads: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_chunk`, by a kernel of our own: each row is gone over while it is in the cache."""
    logits = logits.float()
    rows, columns = logits.shape
    if wrong := [target for target in (int(targets.min()), int(targets.max())) if not 0 <= target < columns]:
        raise DataError(f"target {wrong[0]} is no token of a vocabulary of {columns}; pack the text again")
    token_nats, logs = logits.new_empty(rows), logits.new_empty(rows)
    targets = targets.contiguous()
    sizes = ctypes.c_int64(rows), ctypes.c_int64(columns)
    outs = address(token_nats), address(logs)
    require_cpu_kernels().herd_losses(
        address(logits), *sizes, address(targets), ctypes.c_float(z_loss), int(needs_grads), *outs
    )
    return token_nats, z_loss * logs.square().sum(), logits


def _chunk_compiled(
    logits: Tensor, targets: Tensor, z_loss: float, group: None, needs_grads: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_chunk`, by two compiled kernels that read logits and write slopes in the type they have."""
    torch._dynamo.maybe_mark_dynamic(logits, 0)
    torch._dynamo.maybe_mark_dynamic(targets, 0)
    return _compiled()(logits, targets, z_loss, needs_grads)


@cache
def _compiled() -> Any:
    return torch.compile(_softmax_grads)


def _softmax_grads(logits: Tensor, targets: Tensor, z_loss: float, needs_grads: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Written for a compiler, which makes one kernel of each line or two."""
    exact = logits.float()
    log_total = exact.logsumexp(-1)
    token_nats = log_total - exact.gather(-1, targets[:, None]).squeeze(-1)
    penalty = z_loss * log_total.square().sum()
    if not needs_grads:
        return token_nats, penalty, logits
    columns = torch.arange(logits.shape[1], device=logits.device)
    probabilities = (exact - log_total[:, None]).exp() * (1 + 2 * z_loss * log_total)[:, None]
    return token_nats, penalty, (probabilities - (columns == targets[:, None]).float()).to(logits.dtype)


def _chunk(
    logits: Tensor, targets: Tensor, z_loss: float, group: Any, needs_grads: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Each row's nats, the penalty summed, and the slopes of both by the logits, which are overwritten."""
    logits = logits.float()
    highest = logits.max(-1).values
    if group is not None:
        dist.all_reduce(highest, op=dist.ReduceOp.MAX, group=group)
        targets = targets - dist.get_rank(group) * logits.shape[1]
    here = (targets >= 0) & (targets < logits.shape[1])
    column = targets.clamp(0, logits.shape[1] - 1)[:, None]
    picked = torch.where(here, logits.gather(-1, column).squeeze(-1), 0.0)
    probabilities = logits.sub_(highest[:, None]).exp_()
    total = probabilities.sum(-1)
    if group is not None:
        reduced = torch.stack((total, picked))
        dist.all_reduce(reduced, group=group)
        total, picked = reduced[0], reduced[1]
    log_total = total.log() + highest
    if needs_grads:
        probabilities.mul_(((1 + 2 * z_loss * log_total) / total)[:, None])
        probabilities.scatter_add_(-1, column, -here.to(probabilities.dtype)[:, None])
    return log_total - picked, z_loss * log_total.square().sum(), probabilities
