"""AdamW as language models use it."""

from __future__ import annotations

from torch import nn
from torch.optim import AdamW

from herd.core.settings import PositiveFloat, Share, settings


@settings
class AdamWSettings:
    """Source: Loshchilov and Hutter 2019. The report gives no betas and no max_grad_norm; these are Llama 2's."""

    beta1: Share = 0.9
    beta2: Share = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: Share = 0.1
    max_grad_norm: PositiveFloat = 1.0


def adamw(model: nn.Module, settings: AdamWSettings) -> AdamW:
    """AdamW that decays matrices only; the step's rate is set by the loop, and decay scales with it. Frozen weights are
    none of its business."""
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    matrices = [weight for weight in trainable if weight.dim() >= 2]
    vectors = [weight for weight in trainable if weight.dim() < 2]
    groups = ({"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0})
    return AdamW(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        fused=True,
    )
