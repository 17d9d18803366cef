"""Losses that say of each answer, not only of the pair, where its likelihood shall go."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import PairLogProbs, losses
from herd.core.settings import PositiveFloat


@losses.add
def apo_zero(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1) -> Tensor:
    """How little chosen answers became likelier and rejected ones less: [B]. For answers better than the model's.

    Source: D'Oosterlinck et al. 2024 (Anchored Preference Optimization), eq. 7.
    """
    return (-beta * pairs.chosen_logratio).sigmoid() + (beta * pairs.rejected_logratio).sigmoid()


@losses.add
def apo_down(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1) -> Tensor:
    """How little both became less likely, the rejected ones more so: [B]. For answers worse than the model's.

    Source: D'Oosterlinck et al. 2024 (Anchored Preference Optimization), eq. 8.
    """
    return (beta * pairs.chosen_logratio).sigmoid() + (-beta * pairs.margin).sigmoid()


@losses.add
def bco(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1) -> Tensor:
    """How badly log-ratios tell chosen answers from rejected ones, each by itself: [B].

    Source: Jung et al. 2024 (Binary Classifier Optimization), eq. 6, without its shift, as for pairs.
    """
    return -F.logsigmoid(beta * pairs.chosen_logratio) - F.logsigmoid(-beta * pairs.rejected_logratio)


@losses.add
def nca(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1) -> Tensor:
    """`bco` in which every answer is also held back a little, so that chosen ones do not become less likely: [B].

    Source: Chen et al. 2024 (Noise Contrastive Alignment), for pairs.
    """
    chosen_B, rejected_B = beta * pairs.chosen_logratio, beta * pairs.rejected_logratio
    return -F.logsigmoid(chosen_B) - 0.5 * F.logsigmoid(-chosen_B) - 0.5 * F.logsigmoid(-rejected_B)


@losses.add
def sppo(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1) -> Tensor:
    """How far log-ratios are from 1 / (2 beta) for chosen and from its negative for rejected answers, squared: [B].

    Source: Wu et al. 2024 (Self-Play Preference Optimization), eq. 4.7, with a chance of winning of 1 and 0.
    """
    aim = 1 / (2 * beta)
    return (pairs.chosen_logratio - aim) ** 2 + (pairs.rejected_logratio + aim) ** 2
