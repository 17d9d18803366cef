"""Preference optimisation by the mean log-probability of a token."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import PairLogProbs, losses, reference_free
from herd.core.settings import PositiveFloat


@losses.add
@reference_free
def simpo(pairs: PairLogProbs, *, beta: PositiveFloat = 2.0, margin: float = 1.0) -> Tensor:
    """How far each pair is from a `margin` between `beta` times its answers' mean log-probabilities: [B].

    Source: Meng et al. 2024 (SimPO), eq. 6; `margin` is its gamma.
    """
    chosen_B = pairs.chosen_B / pairs.chosen_tokens_B
    rejected_B = pairs.rejected_B / pairs.rejected_tokens_B
    return -F.logsigmoid(beta * (chosen_B - rejected_B) - margin)
