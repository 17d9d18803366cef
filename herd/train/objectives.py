"""What training minimises, each summed over a part of a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from sys import intern
from typing import Any

from torch import Tensor, nn

from herd.train.batches import IGNORE_INDEX, Batch
from herd.train.cross_entropy import cross_entropy
from herd.train.loop import MetricSums


@dataclass(frozen=True)
class NextTokenLoss:
    """The cross-entropy of the next token, in nats, summed over all targets; logs it source by source.

    z_loss: weight of the penalty on large logits (PaLM, section 5: 1e-4).
    """

    z_loss: float = 0.0

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[Tensor, MetricSums]:
        token_nats: list[Tensor] = []
        total = model(
            batch.tokens_BT, documents_BT=batch.attention_documents, finish=self.finish(batch, token_nats.append)
        )
        return total, per_source_sums(batch, token_nats[0])

    def finish(self, batch: Batch, record: Callable[[Tensor], Any]) -> Callable[[Tensor, Tensor], Tensor]:
        """From last states to the summed loss; every token's own goes to `record`."""

        def finished(hidden_BTD: Tensor, weight_VD: Tensor) -> Tensor:
            matrix, group = local_rows(weight_VD)
            total, each_BT = cross_entropy(hidden_BTD, matrix, batch.targets_BT, z_loss=self.z_loss, group=group)
            record(each_BT)
            return total

        return finished


def local_rows(weight_VD: Tensor) -> tuple[Tensor, Any]:
    """This rank's rows of a matrix that tensor parallelism divides, and the group that holds the others."""
    mesh = getattr(weight_VD, "device_mesh", None)
    if mesh is None:
        return weight_VD, None
    return weight_VD.to_local(), mesh.get_group()  # type: ignore[attr-defined]


def per_source_sums(batch: Batch, each_BT: Tensor) -> MetricSums:
    """Nats and tokens of every source in the batch."""
    if not batch.sources:
        return {}
    nats = each_BT.sum(-1).tolist()
    tokens = (batch.targets_BT != IGNORE_INDEX).sum(-1).tolist()
    sums: MetricSums = {}
    for name, amount, count in zip(batch.sources, nats, tokens, strict=True):
        # One string for all steps: their records keep it.
        loss, count_of = intern(f"loss/{name}"), intern(f"tokens/{name}")
        sums[loss] = sums.get(loss, 0.0) + amount
        sums[count_of] = sums.get(count_of, 0.0) + count
    return sums


next_token_loss = NextTokenLoss()
