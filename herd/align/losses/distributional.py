"""Losses on what a pair, or a whole batch, is worth as a distribution."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import Likelihoods, losses
from herd.core.settings import Rate, Share


@losses.add
def exo(pairs: Likelihoods, *, beta: Rate = 0.1, smoothing: Rate = 1e-3) -> Tensor:
    """The distance from what the policy thinks of the pair to what people do, policy first: [B].

    smoothing: the chance that people meant the other answer. Source: Ji et al. 2024 (Efficient Exact Optimization),
    eq. 16.
    """
    gain_B = beta * pairs.gain
    right_B, wrong_B = F.logsigmoid(gain_B), F.logsigmoid(-gain_B)
    people = math.log1p(-smoothing), math.log(smoothing)
    return right_B.exp() * (right_B - people[0]) + wrong_B.exp() * (wrong_B - people[1])


@losses.add
def aot(
    pairs: Likelihoods, *, beta: Rate = 0.1, smoothing: Share = 0.0, compared: Literal["gains", "answers"] = "gains"
) -> Tensor:
    """`dpo` on sorted values, so that the better of them all, and not each in its pair, are likelier: [B].

    compared: the policy's gaps with the reference's, or log-ratios of chosen answers with those of rejected ones. What
    is sorted are the pairs at hand. Source: Melnyk et al. 2024 (Alignment via Optimal Transport), eq. 10 and 11.
    """
    if compared == "gains":
        policy_B = pairs.chosen_B - pairs.rejected_B
        reference_B = pairs.reference_chosen_B - pairs.reference_rejected_B
    else:
        policy_B, reference_B = pairs.chosen_ratio, pairs.rejected_ratio
    gain_B = beta * (policy_B.sort().values - reference_B.sort().values)
    return -(1 - smoothing) * F.logsigmoid(gain_B) - smoothing * F.logsigmoid(-gain_B)


@losses.add
def discopop(pairs: Likelihoods, *, beta: Rate = 0.1, tau: Rate = 0.05) -> Tensor:
    """`dpo`, and an exponential loss the more, the more the policy gains: a loss that a model wrote: [B].

    Source: Lu et al. 2024 (Discovering Preference Optimization Algorithms), eq. 5.
    """
    gain_B = beta * pairs.gain
    share_B = torch.sigmoid(gain_B / tau)
    return (1 - share_B) * -F.logsigmoid(gain_B) + share_B * torch.exp(-gain_B)
