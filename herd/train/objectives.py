"""What training minimises, each summed over a part of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Any

from torch import Tensor, nn

from herd.train.batches import IGNORED, Batch
from herd.train.cross_entropy import cross_entropy
from herd.train.loop import Sums


@dataclass(frozen=True)
class NextToken:
    """The cross-entropy of the next token, in nats, summed over all targets; logs it source by source.

    z_loss: weight of the penalty on large logits (PaLM, section 5: 1e-4).
    """

    z_loss: float = 0.0

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Sums]:
        each: list[Tensor] = []
        total = model(batch.tokens_BT, documents_BT=batch.looked_at, finish=self.finish(batch, each.append))
        return total, sums_of(batch, each[0])

    def finish(self, batch: Batch, tell: Callable[[Tensor], Any]) -> Callable[[Tensor, Tensor], Tensor]:
        """From last states to the summed loss; every token's own goes to `tell`."""

        def finished(hidden_BTD: Tensor, weight_VD: Tensor) -> Tensor:
            matrix, group = local_rows(weight_VD)
            total, each_BT = cross_entropy(hidden_BTD, matrix, batch.targets_BT, z=self.z_loss, group=group)
            tell(each_BT)
            return total

        return finished


def local_rows(weight_VD: Tensor) -> tuple[Tensor, Any]:
    """This rank's rows of a matrix that tensor parallelism divides, and the group that holds the others."""
    mesh = getattr(weight_VD, "device_mesh", None)
    if mesh is None:
        return weight_VD, None
    return weight_VD.to_local(), mesh.get_group()  # type: ignore[attr-defined]


def sums_of(batch: Batch, each_BT: Tensor) -> Sums:
    """Nats and tokens of every source in the batch."""
    if not batch.sources:
        return {}
    nats = each_BT.sum(-1).tolist()
    tokens = (batch.targets_BT != IGNORED).sum(-1).tolist()
    found: Sums = {}
    for name, amount, count in zip(batch.sources, nats, tokens, strict=True):
        # One string for all steps: their records keep it.
        loss, count_of = intern(f"loss/{name}"), intern(f"tokens/{name}")
        found[loss] = found.get(loss, 0.0) + amount
        found[count_of] = found.get(count_of, 0.0) + count
    return found


next_token = NextToken()
