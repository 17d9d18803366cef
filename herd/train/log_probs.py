"""Log-probabilities of tokens, of which any function may be the loss, without ever holding the logits of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from herd.model.products import matmul
from herd.train.batches import IGNORE_INDEX
from herd.train.cross_entropy import add_product, chunk_function, logits_of
from herd.train.layout import logit_rows


def target_log_probs(hidden_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
    """Log-probability of every target in nats, row by row: [N], as many as `targets_BT` has that are not IGNORE_INDEX.

    What `cross_entropy` does for a loss that is a sum: here the slope by each token is known only when the loss is, so
    logits are made a second time on the way back.
    """
    if torch.is_autocast_enabled(hidden_BTD.device.type):
        hidden_BTD = hidden_BTD.to(torch.get_autocast_dtype(hidden_BTD.device.type))
    target_index = (targets_BT.flatten() != IGNORE_INDEX).nonzero().flatten()
    rows_ND = hidden_BTD.flatten(0, 1).index_select(0, target_index)
    values = _TargetLogProbs.apply(rows_ND, weight_VD, targets_BT.flatten()[target_index])  # type: ignore[misc]
    assert isinstance(values, Tensor)
    return values


class _TargetLogProbs(torch.autograd.Function):
    """Of rows that all have a target."""

    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        ctx.save_for_backward(rows_ND, weight_VD, targets_N)
        matrix = weight_VD.to(rows_ND.dtype)
        values = torch.zeros(len(rows_ND), device=rows_ND.device)
        chunk = chunk_function(rows_ND.device.type, len(weight_VD), None)
        for part in _parts(rows_ND, weight_VD):
            logits = logits_of(rows_ND[part], matrix)
            values[part] = -chunk(logits, targets_N[part], 0.0, None, False)[0]
        return values

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        rows_ND, weight_VD, targets_N = ctx.saved_tensors
        matrix = weight_VD.to(rows_ND.dtype)
        grad_rows = torch.empty_like(rows_ND)
        grad_matrix = torch.zeros_like(weight_VD, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        chunk = chunk_function(rows_ND.device.type, len(weight_VD), None)
        for part in _parts(rows_ND, weight_VD):
            logits = logits_of(rows_ND[part], matrix)
            grad_logits = (
                chunk(logits, targets_N[part], 0.0, None, True)[2].mul_(-grads[0][part, None]).to(rows_ND.dtype)
            )
            matmul(grad_logits, matrix, grad_rows[part])
            if grad_matrix is not None:
                add_product(grad_matrix, grad_logits.T, rows_ND[part])
        return grad_rows, None if grad_matrix is None else grad_matrix.to(weight_VD.dtype), None


def _parts(rows_ND: Tensor, weight_VD: Tensor) -> list[slice]:
    size = logit_rows(len(weight_VD), rows_ND.device.type)
    return [slice(start, start + size) for start in range(0, len(rows_ND), size)]
