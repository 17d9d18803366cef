"""A new preference loss is one function; as a file in herd/align/losses/ a recipe can name it."""

import torch
from torch import Tensor

from herd.align.losses import PairLogProbs, losses
from herd.core.settings import PositiveFloat


@losses.add
def exponential(pairs: PairLogProbs, *, beta: PositiveFloat = 0.1) -> Tensor:
    """How badly each pair is ranked, as boosting counts it: [B].

    Source: Tang et al. 2024 (Generalized Preference Optimization), table 1.
    """
    return torch.exp(-beta * pairs.margin)


if __name__ == "__main__":
    pairs = PairLogProbs.from_logratios(torch.tensor([0.0, 2.5, 5.0]), torch.tensor([0.0, -2.5, -5.0]))
    for name in ("dpo", "exponential"):
        loss = losses.make(losses.configure(name, beta=0.1))
        print(name, [round(value, 4) for value in loss(pairs).tolist()])
