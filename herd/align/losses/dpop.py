"""DPO-Positive, which does not let the chosen answer become less likely (Smaug)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import PairLogProbs, losses
from herd.core.settings import PositiveFloat


@losses.add
def dpop(
    pairs: PairLogProbs,
    *,
    beta: PositiveFloat = 0.3,
    weight: PositiveFloat = 50.0,
    hinge_in: Literal["beta", "sigmoid"] = "beta",
) -> Tensor:
    """`dpo` that is worse, `weight` times, by every nat that the chosen answer has lost to the reference: [B].

    The hinge is zero while the chosen answer is as likely as before, or likelier. hinge_in: whether beta scales the
    hinge too, as in the paper's equation, or only the sigmoid holds it, as some programs have it.
    Source: Pal et al. 2024 (Smaug), eq. 3.
    """
    lost_B = weight * F.relu(-pairs.chosen_logratio)
    if hinge_in == "beta":
        return -F.logsigmoid(beta * (pairs.margin - lost_B))
    return -F.logsigmoid(beta * pairs.margin - lost_B)
