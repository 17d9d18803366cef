"""Answers that are wanted and others that are not, by what people feel about gains and losses."""

from __future__ import annotations

import torch
from torch import Tensor

from herd.align.losses import Likelihoods, losses
from herd.core.settings import Rate


@losses.add
def kto(pairs: Likelihoods, *, beta: Rate = 0.1, wanted: Rate = 1.0, unwanted: Rate = 1.0) -> Tensor:
    """How little a chosen answer gains, and a rejected one loses, against what the policy has moved anyway: [B].

    wanted, unwanted: weights of the two. Source: Ethayarajh et al. 2024 (KTO), eq. 7 and 8.
    Differs: how far the policy has moved is read from the pairs at hand, chosen answers against the mean of the
    rejected and the other way round (as its authors do for pairs), not from answers to other prompts; so it depends on
    which pairs are worked on together.
    """
    chosen_B, rejected_B = pairs.chosen_ratio, pairs.rejected_ratio
    gained_B = value(chosen_B, moved(rejected_B), beta)
    lost_B = value(-rejected_B, -moved(chosen_B), beta)
    return wanted * (1 - gained_B) + unwanted * (1 - lost_B)


def moved(ratios_B: Tensor) -> Tensor:
    """The mean log-ratio, not below zero and not for gradients: an estimate of KL(policy || reference)."""
    return ratios_B.detach().mean().clamp_min(0)


def value(ratio_B: Tensor, against: Tensor, beta: float) -> Tensor:
    """What a log-ratio is felt to be worth against the point where nothing is gained: 0..1."""
    return torch.sigmoid(beta * (ratio_B - against))
