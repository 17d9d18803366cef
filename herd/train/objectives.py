"""What training minimises, each summed over a part of a batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from herd.train.batches import Batch
from herd.train.loop import Sums


def next_token(model: nn.Module, batch: Batch) -> tuple[Tensor, Sums]:
    """The cross-entropy of the next token, in nats, summed over all targets."""
    logits_BTV = model(batch.tokens_BT, documents_BT=batch.documents_BT)
    return F.cross_entropy(logits_BTV.flatten(0, 1), batch.targets_BT.flatten(), reduction="sum"), {}
