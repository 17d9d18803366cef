"""How well a model predicts text it was never trained on, source by source."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import torch
from torch import Tensor

from herd.evals.spread import Interval, ratio_mean
from herd.model.fused import quickly
from herd.model.transformer import Transformer
from herd.run.processes import give_back
from herd.tokens.shards import Shards
from herd.train.batches import IGNORED, Batch, held_out_batches
from herd.train.objectives import next_token
from herd.train.results import HeldOutLoss


def held_out_losses(
    model: Transformer,
    shards: Shards,
    *,
    length: int,
    tokens: int = 6144,
    sources: Collection[str] | None = None,
    workers: int = 1,
) -> dict[str, HeldOutLoss]:
    """Per source: nats per token, bits per byte of text, and the tokens it was measured on.

    tokens: at most about so many a source. sources: all when absent. workers: threads; they change no figure. Only
    bits per byte may be compared between tokenizers. Sources without held-out documents are left out.
    """
    model.eval()
    device = model.embedding.weight.device

    def measured(batch: Batch) -> tuple[float, int]:
        with torch.inference_mode():
            nats = float(next_token(model, batch.to(device))[0])
        return nats, int((batch.targets_BT != IGNORED).sum())

    losses: dict[str, HeldOutLoss] = {}
    with quickly(model), ThreadPoolExecutor(workers) as threads:
        for source in [name for name in shards.sources if sources is None or name in sources]:
            give_back()  # what training or another source was worked on in is not for this one to lie beside
            batches = held_out_batches(shards, source, length, shards.pad, max(1, tokens // length), size=_ROWS)
            found = list(threads.map(measured, batches))
            count = sum(one[1] for one in found)
            if count:
                shard = shards.read(source, "heldout")
                bytes_per_token = shard.text_bytes / max(1, len(shard.ids) - len(shard))
                per_token = sum(one[0] for one in found) / count
                losses[source] = HeldOutLoss(per_token, per_token / math.log(2) / bytes_per_token, count)
    return losses


def held_out_means(
    model: Transformer, shards: Shards, *, length: int, tokens: int, sources: Collection[str], workers: int = 1
) -> dict[str, Interval]:
    """Per source: nats per token on rows of `length`, with an interval over rows; no width where there is one row.

    tokens: at most about so many a source. workers: threads. Sources without held-out documents are left out.
    """
    model.eval()
    device = model.embedding.weight.device

    def measured(batch: Batch) -> tuple[list[float], list[float]]:
        each: list[Tensor] = []
        batch = batch.to(device)
        with torch.inference_mode():
            model(batch.tokens_BT, documents_BT=batch.looked_at, finish=next_token.finish(batch, each.append))
        return each[0].sum(-1).tolist(), (batch.targets_BT != IGNORED).sum(-1).tolist()

    found = {}
    with quickly(model), ThreadPoolExecutor(workers) as threads:
        for source in [name for name in shards.sources if name in sources]:
            batches = held_out_batches(shards, source, length, shards.pad, max(1, tokens // length), size=_ROWS)
            rows = list(threads.map(measured, batches))
            if rows:
                nats, counts = (list(chain.from_iterable(some)) for some in zip(*rows, strict=True))
                found[source] = ratio_mean(nats, counts)
    return found


_ROWS = 4  # at once; few enough that two threads have work at every length


def weighted_loss(losses: Mapping[str, HeldOutLoss], shares: Mapping[str, float]) -> float:
    """The mean over sources in the shares of a mix, in nats per token."""
    return weighted_mean({source: loss.nats_per_token for source, loss in losses.items()}, shares)


def weighted_mean(losses: Mapping[str, float], shares: Mapping[str, float]) -> float:
    """The mean of those with a share, in the shares of a mix."""
    measured = {source: share for source, share in shares.items() if source in losses and share > 0}
    total = sum(measured.values())
    return sum(share * losses[source] for source, share in measured.items()) / total
