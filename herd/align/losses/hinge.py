"""A margin between answers, and nothing beyond it."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import PairLogProbs, losses
from herd.core.settings import PositiveFloat


@losses.add
def hinge(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1) -> Tensor:
    """How much of a margin of one is missing from `beta` times each pair's gain: [B].

    Source: Zhao et al. 2023 (SLiC-HF), eq. 1, on log-ratios as Liu et al. 2024 (RSO), table 1.
    """
    return F.relu(1 - beta * pairs.margin)
