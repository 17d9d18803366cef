"""Identity preference optimisation."""

from __future__ import annotations

from torch import Tensor

from herd.align.losses import PairLogProbs, losses
from herd.core.settings import PositiveFloat


@losses.add
def ipo(pairs: PairLogProbs, *, tau: PositiveFloat = 0.1, per_token: bool = True) -> Tensor:
    """How far each pair's gain is from 1 / (2 tau), squared: [B].

    per_token: log-ratios are means over an answer's tokens, as TRL has it after asking the authors; otherwise sums, as
    printed. Source: Azar et al. 2023, eq. 17.
    """
    return ((pairs.mean_margin if per_token else pairs.margin) - 1 / (2 * tau)) ** 2
