"""Answers that are wanted and others that are not, by what people feel about gains and losses."""

from __future__ import annotations

import torch
from torch import Tensor

from herd.align.losses import PairLogProbs, losses, needs_mismatched
from herd.core.settings import PositiveFloat


@losses.add
@needs_mismatched
def kto(
    pairs: PairLogProbs,
    *,
    beta: PositiveFloat = 0.1,
    desirable_weight: PositiveFloat = 1.0,
    undesirable_weight: PositiveFloat = 1.0,
) -> Tensor:
    """How little a chosen answer gains, and a rejected one loses, against what the policy has moved anyway: [B].

    desirable_weight, undesirable_weight: weights of the two. How far the policy has moved is read from answers behind
    prompts that they were not given to, of the pairs that are worked on together, as in TRL, whose loss is a mean over
    single answers and so half of this. Source: Ethayarajh et al. 2024 (KTO), eq. 7 and 8.
    """
    kl = kl_estimate(pairs.mismatched_M)
    return desirable_weight * value_shortfall(pairs.chosen_logratio - kl, beta) + undesirable_weight * value_shortfall(
        kl - pairs.rejected_logratio, beta
    )


@losses.add
def kto_pair(
    pairs: PairLogProbs,
    *,
    beta: PositiveFloat = 0.1,
    desirable_weight: PositiveFloat = 1.0,
    undesirable_weight: PositiveFloat = 1.0,
) -> Tensor:
    """`kto` that reads how far the policy has moved from the pairs themselves, and so costs half as much: [B].

    Chosen answers stand against the mean of the rejected ones, and the other way round.
    Source: Ethayarajh et al. 2024, in their own program for pairs.
    """
    chosen_gain_B = pairs.chosen_logratio - kl_estimate(pairs.rejected_logratio)
    rejected_gain_B = kl_estimate(pairs.chosen_logratio) - pairs.rejected_logratio
    return desirable_weight * value_shortfall(chosen_gain_B, beta) + undesirable_weight * value_shortfall(
        rejected_gain_B, beta
    )


def kl_estimate(ratios: Tensor) -> Tensor:
    """The mean log-ratio, not below zero and not for gradients: an estimate of KL(policy || reference)."""
    return ratios.detach().mean().clamp_min(0)


def value_shortfall(advantage_B: Tensor, beta: float) -> Tensor:
    """What is missing from the worth that a gain in log-ratio is felt to have: 0..1, a half where nothing is gained."""
    return 1 - torch.sigmoid(beta * advantage_B)
