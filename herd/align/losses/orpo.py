"""Preferences by the ratio of odds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import PairLogProbs, losses, reference_free
from herd.core.settings import PositiveFloat


@losses.add
@reference_free
def orpo(pairs: PairLogProbs, *, weight: PositiveFloat = 0.1) -> Tensor:
    """`weight` times how badly the odds of a token of the chosen answer compare to the rejected one's: [B].

    Odds p / (1 - p) of the mean log-probability of a token. The paper adds the chosen answer's likelihood: set
    `nll_weight: 1`. Source: Hong et al. 2024 (ORPO), eq. 6 and 7; `weight` is its lambda.
    """
    chosen_B = _log_odds(pairs.chosen_B / pairs.chosen_tokens_B)
    rejected_B = _log_odds(pairs.rejected_B / pairs.rejected_tokens_B)
    return -weight * F.logsigmoid(chosen_B - rejected_B)


def _log_odds(log_p: Tensor) -> Tensor:
    """Odds of one, which no answer has, would be infinite."""
    return log_p - torch.log1p(-torch.exp(log_p.clamp_max(-1e-6)))
