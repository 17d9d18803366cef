"""Direct preference optimisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import losses
from herd.core.settings import Rate


@losses.add
def dpo(chosen_B: Tensor, rejected_B: Tensor, *, beta: Rate = 0.1) -> Tensor:
    """How badly the policy ranks each pair; log 2 when it ranks like the reference: [B].

    Source: Rafailov et al. 2023, eq. 7; Llama 3, 4.1.4.
    """
    return -F.logsigmoid(beta * (chosen_B - rejected_B))
