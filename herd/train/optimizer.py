"""AdamW as language models use it."""

from __future__ import annotations

import inspect

import torch.optim
from torch import nn

from herd.core.settings import PositiveFloat, Share, settings


@settings
class AdamWSettings:
    """Source: Loshchilov and Hutter 2019. The report gives no betas and no max_grad_norm; these are Llama 2's."""

    beta1: Share = 0.9
    beta2: Share = 0.95
    eps: PositiveFloat = 1e-8
    weight_decay: Share = 0.1
    max_grad_norm: PositiveFloat = 1.0


class AdamW(torch.optim.AdamW):
    """PyTorch's AdamW, without PyTorch's compiler.

    PyTorch marks these methods for its compiler, and the marks load it at their first call: 1,000 modules, as much time
    again as `import torch`, in every process that trains. Nothing compiles an optimizer here.
    """

    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)
    state_dict = inspect.unwrap(torch.optim.AdamW.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.AdamW.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))


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
