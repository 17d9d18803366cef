"""Contrastive preference optimisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import PairLogProbs, losses, reference_free
from herd.core.settings import PositiveFloat


@losses.add
@reference_free
def cpo(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1) -> Tensor:
    """How badly the policy ranks each pair, with a reference that finds all answers alike: [B].

    The paper adds the chosen answer's likelihood: set `nll_weight: 1`. Source: Xu et al. 2024 (CPO), eq. 3.
    """
    return -F.logsigmoid(beta * (pairs.chosen_B - pairs.rejected_B))
