"""Averages of weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def average_weights(members: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each weight, in fp32. Source: Polyak and Juditsky 1992; Wortsman et al. 2022."""

    def mean(name: str) -> Tensor:
        return torch.stack([member[name].float() for member in members]).mean(dim=0)

    return {name: mean(name) for name in members[0]}
