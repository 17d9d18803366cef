"""A new preference loss is one function; as a file in herd/align/losses/ a recipe can name it."""

import torch
from torch import Tensor

from herd.align.losses import losses
from herd.core.settings import Rate


@losses.add
def ipo(chosen_B: Tensor, rejected_B: Tensor, *, beta: Rate = 0.1) -> Tensor:
    """How far each pair's margin is from the one wanted, squared: [B].

    Source: Azar et al. 2023, eq. 17.
    """
    return (chosen_B - rejected_B - 1 / (2 * beta)) ** 2


if __name__ == "__main__":
    chosen, rejected = torch.tensor([0.0, 2.5, 5.0]), torch.tensor([0.0, -2.5, -5.0])
    for name in ("dpo", "ipo"):
        loss = losses.make(losses.use(name, beta=0.1))
        print(name, [round(value, 4) for value in loss(chosen, rejected).tolist()])
