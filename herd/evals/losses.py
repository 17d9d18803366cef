"""How well a model predicts text it was never trained on, source by source."""

from __future__ import annotations

import math

import torch

from herd.model.transformer import Transformer
from herd.tokens.shards import Shards
from herd.train.batches import IGNORED, held_out_batches
from herd.train.objectives import next_token


def held_out_losses(
    model: Transformer, shards: Shards, *, length: int, tokens: int = 6144
) -> dict[str, dict[str, float]]:
    """Per source: nats per token, bits per byte of text, and the tokens it was measured on.

    tokens: at most about so many a source. Only bits per byte may be compared between tokenizers. Sources
    without held-out documents are left out.
    """
    losses = {}
    for source in shards.sources:
        nats, count = 0.0, 0
        for batch in held_out_batches(shards, source, length, shards.pad, max(1, tokens // length)):
            with torch.inference_mode():
                nats += float(next_token(model.eval(), batch.to(model.embedding.weight.device))[0])
            count += int((batch.targets_BT != IGNORED).sum())
        if count:
            shard = shards.read(source, "heldout")
            bytes_per_token = shard.text_bytes / max(1, len(shard.ids) - len(shard))
            per_token = nats / count
            losses[source] = {
                "nats_per_token": per_token,
                "bits_per_byte": per_token / math.log(2) / bytes_per_token,
                "tokens": count,
            }
    return losses


def weighted_loss(losses: dict[str, dict[str, float]], shares: dict[str, float]) -> float:
    """The mean over sources in the shares of a mix, in nats per token."""
    measured = {source: share for source, share in shares.items() if source in losses and share > 0}
    total = sum(measured.values())
    return sum(share * losses[source]["nats_per_token"] for source, share in measured.items()) / total
