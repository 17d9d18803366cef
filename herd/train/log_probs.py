"""Log-probabilities of tokens, of which any function may be the loss, without ever holding the logits of all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from herd.model.products import product
from herd.train.batches import IGNORED
from herd.train.cross_entropy import add_product, chunk_by, logits_of
from herd.train.layout import logit_rows


def log_probs(hidden_BTD: Tensor, weight_VD: Tensor, targets_BT: Tensor) -> Tensor:
    """Log-probability of every target in nats, row by row: [N], as many as `targets_BT` has that are not IGNORED.

    What `cross_entropy` does for a loss that is a sum: here the slope by each token is known only when the loss is, so
    logits are made a second time on the way back.
    """
    if torch.is_autocast_enabled(hidden_BTD.device.type):
        hidden_BTD = hidden_BTD.to(torch.get_autocast_dtype(hidden_BTD.device.type))
    kept = (targets_BT.flatten() != IGNORED).nonzero().flatten()
    rows_ND = hidden_BTD.flatten(0, 1).index_select(0, kept)
    found = _LogProbs.apply(rows_ND, weight_VD, targets_BT.flatten()[kept])  # type: ignore[misc]
    assert isinstance(found, Tensor)
    return found


class _LogProbs(torch.autograd.Function):
    """Of rows that all have a target."""

    @staticmethod
    def forward(ctx: Any, rows_ND: Tensor, weight_VD: Tensor, targets_N: Tensor) -> Tensor:
        ctx.save_for_backward(rows_ND, weight_VD, targets_N)
        matrix = weight_VD.to(rows_ND.dtype)
        found = torch.zeros(len(rows_ND), device=rows_ND.device)
        chunk = chunk_by(rows_ND.device.type, len(weight_VD), None)
        for part in _parts(rows_ND, weight_VD):
            logits = logits_of(rows_ND[part], matrix)
            found[part] = -chunk(logits, targets_N[part], 0.0, None, False)[0]
        return found

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        rows_ND, weight_VD, targets_N = ctx.saved_tensors
        matrix = weight_VD.to(rows_ND.dtype)
        slope_rows = torch.empty_like(rows_ND)
        slope_matrix = torch.zeros_like(weight_VD, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        chunk = chunk_by(rows_ND.device.type, len(weight_VD), None)
        for part in _parts(rows_ND, weight_VD):
            logits = logits_of(rows_ND[part], matrix)
            slope = chunk(logits, targets_N[part], 0.0, None, True)[2].mul_(-slopes[0][part, None]).to(rows_ND.dtype)
            product(slope, matrix, slope_rows[part])
            if slope_matrix is not None:
                add_product(slope_matrix, slope.T, rows_ND[part])
        return slope_rows, None if slope_matrix is None else slope_matrix.to(weight_VD.dtype), None


def _parts(rows_ND: Tensor, weight_VD: Tensor) -> list[slice]:
    size = logit_rows(len(weight_VD), rows_ND.device.type)
    return [slice(start, start + size) for start in range(0, len(rows_ND), size)]
