"""Answers that are wanted and others that are not, by what people feel about gains and losses."""

from __future__ import annotations

import torch
from torch import Tensor

from herd.align.losses import Likelihoods, asks_mismatched, losses
from herd.core.settings import Rate


@losses.add
@asks_mismatched
def kto(pairs: Likelihoods, *, beta: Rate = 0.1, wanted: Rate = 1.0, unwanted: Rate = 1.0) -> Tensor:
    """How little a chosen answer gains, and a rejected one loses, against what the policy has moved anyway: [B].

    wanted, unwanted: weights of the two. How far the policy has moved is read from answers behind prompts that they
    were not given to, of the pairs that are worked on together, as in TRL, whose loss is a mean over single answers
    and so half of this. Source: Ethayarajh et al. 2024 (KTO), eq. 7 and 8.
    """
    anyway = moved(pairs.mismatched_M)
    return wanted * felt(pairs.chosen_ratio - anyway, beta) + unwanted * felt(anyway - pairs.rejected_ratio, beta)


@losses.add
def kto_pair(pairs: Likelihoods, *, beta: Rate = 0.1, wanted: Rate = 1.0, unwanted: Rate = 1.0) -> Tensor:
    """`kto` that reads how far the policy has moved from the pairs themselves, and so costs half as much: [B].

    Chosen answers stand against the mean of the rejected ones, and the other way round.
    Source: Ethayarajh et al. 2024, in their own program for pairs.
    """
    gained_B = pairs.chosen_ratio - moved(pairs.rejected_ratio)
    lost_B = moved(pairs.chosen_ratio) - pairs.rejected_ratio
    return wanted * felt(gained_B, beta) + unwanted * felt(lost_B, beta)


def moved(ratios: Tensor) -> Tensor:
    """The mean log-ratio, not below zero and not for gradients: an estimate of KL(policy || reference)."""
    return ratios.detach().mean().clamp_min(0)


def felt(gain_B: Tensor, beta: float) -> Tensor:
    """What is missing from the worth that a gain in log-ratio is felt to have: 0..1, a half where nothing is gained."""
    return 1 - torch.sigmoid(beta * gain_B)
