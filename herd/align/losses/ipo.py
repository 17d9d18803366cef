"""Identity preference optimisation."""

from __future__ import annotations

from torch import Tensor

from herd.align.losses import Likelihoods, losses
from herd.core.settings import Rate


@losses.add
def ipo(pairs: Likelihoods, *, tau: Rate = 0.1, per_token: bool = True) -> Tensor:
    """How far each pair's gain is from 1 / (2 tau), squared: [B].

    per_token: log-ratios are means over an answer's tokens, as TRL has it after asking the authors; otherwise sums, as
    printed. Source: Azar et al. 2023, eq. 17.
    """
    chosen_B, rejected_B = pairs.chosen_ratio, pairs.rejected_ratio
    if per_token:
        chosen_B, rejected_B = chosen_B / pairs.chosen_tokens_B, rejected_B / pairs.rejected_tokens_B
    return (chosen_B - rejected_B - 1 / (2 * tau)) ** 2
