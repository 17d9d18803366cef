"""Losses on what a pair, or a whole batch, is worth as a distribution."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import PairLogProbs, losses
from herd.core.settings import PositiveFloat, Share


@losses.add
def exo(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1, label_smoothing: PositiveFloat = 1e-3) -> Tensor:
    """The distance from what the policy thinks of the pair to what people do, policy first: [B].

    label_smoothing: the chance that people meant the other answer. Source: Ji et al. 2024 (Efficient Exact
    Optimization), eq. 16.
    """
    margin_B = beta * pairs.margin
    right_B, wrong_B = F.logsigmoid(margin_B), F.logsigmoid(-margin_B)
    people = math.log1p(-label_smoothing), math.log(label_smoothing)
    return right_B.exp() * (right_B - people[0]) + wrong_B.exp() * (wrong_B - people[1])


@losses.add
def aot(
    pairs: PairLogProbs,
    *,
    beta: PositiveFloat = 0.1,
    label_smoothing: Share = 0.0,
    variant: Literal["margins", "answers"] = "margins",
) -> Tensor:
    """`dpo` on sorted values, so that the better of them all, and not each in its pair, are likelier: [B].

    variant: the policy's margins with the reference's, or log-ratios of chosen answers with those of rejected ones.
    What is sorted are the pairs at hand. Source: Melnyk et al. 2024 (Alignment via Optimal Transport), eq. 10 and 11.
    """
    if variant == "margins":
        policy_B = pairs.chosen_B - pairs.rejected_B
        reference_B = pairs.reference_chosen_B - pairs.reference_rejected_B
    else:
        policy_B, reference_B = pairs.chosen_logratio, pairs.rejected_logratio
    margin_B = beta * (policy_B.sort().values - reference_B.sort().values)
    return -(1 - label_smoothing) * F.logsigmoid(margin_B) - label_smoothing * F.logsigmoid(-margin_B)


@losses.add
def discopop(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1, tau: PositiveFloat = 0.05) -> Tensor:
    """`dpo`, and an exponential loss the more, the more the policy gains: a loss that a model wrote: [B].

    Source: Lu et al. 2024 (Discovering Preference Optimization Algorithms), eq. 5.
    """
    margin_B = beta * pairs.margin
    share_B = torch.sigmoid(margin_B / tau)
    return (1 - share_B) * -F.logsigmoid(margin_B) + share_B * torch.exp(-margin_B)
