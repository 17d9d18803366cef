"""Direct preference optimisation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from herd.align.losses import PairLogProbs, losses
from herd.core.errors import SettingsError
from herd.core.settings import PositiveFloat, Share


@losses.add
def dpo(
    pairs: PairLogProbs, *, beta: PositiveFloat = 0.1, label_smoothing: Share = 0.0, per_token: bool = False
) -> Tensor:
    """How badly the policy ranks each pair; log 2 when it ranks like the reference: [B].

    label_smoothing: the share of pairs thought to be labelled the wrong way round, each of which counts both ways.
    per_token: log-ratios are means over an answer's tokens, and beta is some hundred times as large.
    Source: Rafailov et al. 2023, eq. 7; Llama 3, 4.1.4; label_smoothing: Mitchell 2023 (cDPO), eq. 3; per_token:
    Lambert et al. 2024 (Tulu 3), eq. 6.
    """
    margin_B = beta * (pairs.mean_margin if per_token else pairs.margin)
    return -(1 - label_smoothing) * F.logsigmoid(margin_B) - label_smoothing * F.logsigmoid(-margin_B)


@losses.add
def robust_dpo(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1, label_smoothing: Share = 0.1) -> Tensor:
    """`dpo`, whose mean over labels of which a share is `label_smoothing` is that over the true ones: [B].

    Source: Chowdhury et al. 2024 (Provably Robust DPO), eq. 9. Raises SettingsError for a share of a half or more.
    """
    if label_smoothing >= 0.5:
        raise SettingsError(
            f"robust_dpo: label_smoothing {label_smoothing:g} says that labels mean nothing; set it below .5"
        )
    margin_B = beta * pairs.margin
    right_B, wrong_B = -F.logsigmoid(margin_B), -F.logsigmoid(-margin_B)
    return ((1 - label_smoothing) * right_B - label_smoothing * wrong_B) / (1 - 2 * label_smoothing)
