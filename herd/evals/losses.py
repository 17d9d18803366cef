"""How well a model predicts text it was never trained on, source by source."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from torch import Tensor

from herd.core.errors import DataError
from herd.evals.intervals import Interval, ratio_mean
from herd.model.attention_backends import long_rows
from herd.model.collectives import SINGLE_RANK, RankGroup
from herd.model.fused import fused_kernels
from herd.model.transformer import Transformer
from herd.run.processes import trim_memory
from herd.tokens.shards import TokenShards
from herd.train.batches import IGNORE_INDEX, Batch, collate, held_out_batches
from herd.train.objectives import next_token_loss
from herd.train.results import HeldOutLoss
from herd.train.rows import InputsTargets

DEFAULT_LOSS_TOKENS = 6144  # a source: what the recipe `tiny` has time for
_ROWS = 4  # at once; few enough that two threads have work at every length
_CONVERSATIONS = 8  # read at once
_GPU_TOKENS = 32_768  # read at once on a GPU, where rows are longer
_MAX_ROW_SUMS = 64


def held_out_losses(
    model: Transformer,
    shards: TokenShards,
    *,
    length: int,
    tokens: int = DEFAULT_LOSS_TOKENS,
    sources: Collection[str] | None = None,
    workers: int = 1,
    ranks: RankGroup = SINGLE_RANK,
) -> dict[str, HeldOutLoss]:
    """Per source: nats per token with an interval over rows, bits per byte of text, and the tokens it was measured on.

    tokens: at most about so many a source. sources: all when absent. workers: threads, ranks: that each have the model
    and measure a part; they change no figure. Only bits per byte may be compared between tokenizers. Sources without
    held-out documents are left out.
    """
    losses: dict[str, HeldOutLoss] = {}
    for source, batches in _measured(model, shards, length, tokens, sources, workers, ranks):
        count = sum(sum(batch.row_tokens) for batch in batches)
        if count:
            shard = shards.read(source, "heldout")
            bytes_per_token = shard.text_bytes / max(1, len(shard.ids) - len(shard))
            per_token = sum(batch.nats for batch in batches) / count
            nats, counts = _row_sums(batches, _MAX_ROW_SUMS)
            interval = ratio_mean(nats, counts, least=0.0) if len(counts) > 1 else None
            losses[source] = HeldOutLoss(
                per_token,
                per_token / math.log(2) / bytes_per_token,
                count,
                low=interval and interval.low,
                high=interval and interval.high,
                row_nats=nats,
                row_tokens=counts,
            )
    return losses


def held_out_means(
    model: Transformer, shards: TokenShards, *, length: int, tokens: int, sources: Collection[str], workers: int = 1,
    ranks: RankGroup = SINGLE_RANK,
) -> dict[str, Interval]:  # fmt: skip
    """Per source: nats per token on rows of `length`, with an interval over rows; no width where there is one row.

    tokens: at most about so many a source. workers: threads. ranks: as of `held_out_losses`. Sources without held-out
    documents are left out.
    """
    measured = _measured(model, shards, length, tokens, sources, workers, ranks)
    return {source: _mean_of_rows(*_row_sums(batches)) for source, batches in measured if batches}


def _at_once(rows: int, length: int, device: torch.device) -> int:
    """Of so many rows those that are read at once: of long ones on a GPU fewer, whose states would fill it."""
    return rows if device.type == "cpu" else max(1, min(rows, _GPU_TOKENS // length))


def _mean_of_rows(nats: Sequence[float], counts: Sequence[int]) -> Interval:
    if len(counts) < 2:  # what is held against it has to be told apart by its value alone
        return Interval(nats[0] / counts[0], *[nats[0] / counts[0]] * 2)
    return ratio_mean(nats, counts, least=0.0)


@dataclass(frozen=True)
class _BatchLoss:
    """nats: summed over a batch, as training sums them. row_nats, row_tokens: of its rows."""

    nats: float
    row_nats: tuple[float, ...]
    row_tokens: tuple[int, ...]


def _measured(
    model: Transformer, shards: TokenShards, length: int, tokens: int, sources: Collection[str] | None, workers: int,
    ranks: RankGroup,
) -> Iterator[tuple[str, list[_BatchLoss]]]:  # fmt: skip
    """Of every source the losses of its held-out rows, a few rows at a time."""
    model.eval()
    device = model.embedding.weight.device

    def measure(batch: Batch) -> _BatchLoss:
        token_nats: list[Tensor] = []
        batch = batch.to(device)
        with torch.inference_mode():
            total = model(
                batch.tokens_BT,
                documents_BT=batch.attention_documents,
                finish=next_token_loss.finish(batch, token_nats.append),
            )
        counts = (batch.targets_BT != IGNORE_INDEX).sum(-1).tolist()
        return _BatchLoss(float(total), tuple(token_nats[0].sum(-1).tolist()), tuple(counts))

    with fused_kernels(model), long_rows(model, length), ThreadPoolExecutor(workers) as threads:
        for source in [name for name in shards.sources if sources is None or name in sources]:
            trim_memory()  # what training or another source was worked on in is not for this one to lie beside
            batches = held_out_batches(
                shards, source, length, shards.pad_id, max(1, tokens // length), size=_at_once(_ROWS, length, device)
            )
            yield source, ranks.map(list(batches), measure, local_map=threads.map)


@torch.no_grad()
def dialogue_losses(
    model: Transformer, conversations: Sequence[InputsTargets], *, pad: int, ranks: RankGroup = SINGLE_RANK,
    collective: bool = False,
) -> tuple[list[float], list[int]]:  # fmt: skip
    """Of every conversation, in order, the nats of what is learnt in it, summed, and how many tokens these are.

    Each is read alone. ranks: that each have the model and measure a part; collective: or that each have a part of the
    model, and ask it equally often. They change no figure but for rounding.
    """
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(conversations)), key=lambda number: len(conversations[number][0]))
    size = _at_once(_CONVERSATIONS, max((len(inputs) for inputs, _ in conversations), default=1), device)
    groups = [order[start : start + size] for start in range(0, len(order), size)]

    def measured(group: Sequence[int]) -> list[float]:
        rows = [[conversations[number]] for number in group]
        batch = collate(rows, max(len(conversations[number][0]) for number in group), pad).to(device)
        nats: list[Tensor] = []
        model(
            batch.tokens_BT, documents_BT=batch.attention_documents, finish=next_token_loss.finish(batch, nats.append)
        )
        return nats[0].double().sum(-1).tolist()

    with fused_kernels(model):
        by_group = ranks.map(groups, measured, collective=collective)
    by_number = dict(zip(chain.from_iterable(groups), chain.from_iterable(by_group), strict=True))
    counts = [int((targets != IGNORE_INDEX).sum()) for _, targets in conversations]
    return [by_number[number] for number in range(len(conversations))], counts


def _row_sums(batches: Sequence[_BatchLoss], limit: int | None = None) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Nats and tokens of every row. limit: of sums; where there are more rows, neighbouring ones are taken together,
    which may be of one document and so say less than their number."""
    nats = list(chain.from_iterable(batch.row_nats for batch in batches))
    counts = list(chain.from_iterable(batch.row_tokens for batch in batches))
    groups = min(len(counts), limit or len(counts))
    starts = [number * len(counts) // groups for number in range(groups)] + [len(counts)]
    spans = [slice(start, end) for start, end in pairwise(starts)]
    return tuple(sum(nats[span]) for span in spans), tuple(sum(counts[span]) for span in spans)


def weighted_loss(losses: Mapping[str, HeldOutLoss], shares: Mapping[str, float]) -> float:
    """The mean over sources in the shares of a mix, in nats per token. Raises DataError as `weighted_mean` does."""
    return weighted_mean({source: loss.nats_per_token for source, loss in losses.items()}, shares)


def weighted_mean(losses: Mapping[str, float], shares: Mapping[str, float]) -> float:
    """The mean of those with a share, in the shares of a mix. Raises DataError where none of them was measured."""
    measured = {source: share for source, share in shares.items() if source in losses and share > 0}
    if not measured:
        raise DataError(
            f"no loss was measured of {', '.join(shares)}: nothing of it is held out; raise held_out_share or add "
            "documents"
        )
    total = sum(measured.values())
    return sum(share * losses[source] for source, share in measured.items()) / total
