"""Documents that hold items of evaluation sets."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from herd.core.settings import InputFile, PositiveInt, Share, input_path
from herd.corpus.contamination import ExampleIndex, Match, find_matches, read_eval_examples
from herd.corpus.dedup import dedups
from herd.corpus.kernels import pack_texts
from herd.corpus.results import Count
from herd.corpus.shards import (
    DedupResult,
    DocumentShard,
    DocumentShards,
    Removal,
    RewrittenShard,
    RowNumbers,
    alive_texts,
    rewrite_shard,
)

_MAX_PASSAGES = 50
_CONTEXT_BYTES = 80  # bytes shown on each side of a passage
_FIELDS = ("question", "prompt", "problem", "text", "query", "input", "answer")


@dedups.add
def decontaminate(
    shards: DocumentShards,
    *,
    against: tuple[InputFile, ...],
    fields: tuple[str, ...] = _FIELDS,
    ngram_size: PositiveInt = 13,
    item_share: Share = 0.5,
    action: Literal["drop", "cut", "report"] = "drop",
) -> DedupResult:
    """Drops documents that hold a good part of an evaluation item, or cuts the item out of them.

    A document is touched when passages it shares with one item, of `ngram_size` words or more, hold at least
    `item_share` of the item's words: a shared phrase alone is no contamination, and removing all of those was
    found to remove mostly false positives. The samples show the passages with what stands round them, how
    many documents share a phrase only, and the share of the former among all, which is the precision a rule
    that drops at the first shared run would have had by this measure.
    Source: Brown et al. 2020, app. C (13 words); Llama 3, 5.1.4 (share of an item that is covered).
    """
    texts, names = read_eval_examples([str(input_path(file)) for file in against], fields)
    index = ExampleIndex.build(texts, names, ngram_size)
    results = shards.map(partial(_match_shard, index=index, item_share=item_share), "decontaminate")
    rows = np.concatenate([np.array(result[0], np.int64) for result in results])
    phrase_only = sum(result[1] for result in results)
    passages = list(itertools.chain.from_iterable(result[2] for result in results))[:_MAX_PASSAGES]
    share = np.concatenate([result[3] for result in results]) if results else np.empty(0)
    counts: dict[str, Count] = {
        "items": len(texts),
        "items too short": int((index.counts == 0).sum()),
        "documents with an item": len(rows),
        "documents with a phrase only": phrase_only,
        "precision of any shared run": round(len(rows) / max(1, len(rows) + phrase_only), 3),
        "mean share of the item": round(float(share.mean()), 3) if len(share) else 0.0,
    }
    if action == "report" or not len(rows):
        return DedupResult([], counts, passages)
    if action == "drop":
        return DedupResult([Removal(rows, "holds an item of an evaluation set")], counts, passages)
    empty, _ = shards.rewrite(partial(_cut, index=index, item_share=item_share), "decontaminate.cut")
    return DedupResult([Removal(empty, "nothing but items of an evaluation set")], counts, passages)


def _overlaps(matches: list[Match], index: ExampleIndex) -> dict[int, float]:
    """Of each item that a document shares passages with, the share of its words that they hold."""
    words: dict[int, int] = {}
    for match in matches:
        words[match.example] = words.get(match.example, 0) + match.words
    return {
        example: min(1.0, count / max(1, int(index.counts[example]) + index.ngram_size - 1))
        for example, count in words.items()
    }


def _by_text(texts: arrow.Array, index: ExampleIndex) -> dict[int, list[Match]]:
    grouped: dict[int, list[Match]] = {}
    for match in find_matches(pack_texts(texts), index):
        grouped.setdefault(match.text, []).append(match)
    return grouped


def _match_shard(
    shard: DocumentShard, *, index: ExampleIndex, item_share: float
) -> tuple[list[int], int, list[dict[str, Any]], NDArray[np.float64]]:
    """Documents with an item, how many have a phrase only, passages to look at, and shares of items held."""
    rows: list[int] = []
    passages: list[dict[str, Any]] = []
    shares: list[float] = []
    phrase_only = 0
    for numbers, texts in alive_texts(shard):
        for at, matches in sorted(_by_text(texts, index).items()):
            text = texts[at].as_py().encode()
            best, share = max(_overlaps(matches, index).items(), key=lambda pair: pair[1])
            if share < item_share:
                phrase_only += 1
                continue
            rows.append(int(numbers[at]))
            shares.append(share)
            if len(passages) < _MAX_PASSAGES:
                first_match = next(match for match in matches if match.example == best)
                before, after = (
                    text[max(0, first_match.begin - _CONTEXT_BYTES) : first_match.begin],
                    text[first_match.end : first_match.end + _CONTEXT_BYTES],
                )
                context = {"before": before, "passage": text[first_match.begin : first_match.end], "after": after}
                passages.append(
                    {"item": index.names[best], "share": round(share, 3)}
                    | {name: piece.decode("utf-8", "ignore") for name, piece in context.items()}
                )
    return rows, phrase_only, passages, np.array(shares)


def _cut(shard: DocumentShard, *, index: ExampleIndex, item_share: float) -> tuple[RewrittenShard, None]:
    """The shard without the passages that hold an item."""

    def change(_: RowNumbers, texts: arrow.Array) -> arrow.Array:
        matches = _by_text(texts, index)
        cut_texts = []
        for at, value in enumerate(texts.to_pylist()):
            text = value.encode()
            overlaps = _overlaps(matches.get(at, []), index)
            for match in reversed(matches.get(at, [])):
                if overlaps[match.example] >= item_share:
                    text = text[: match.begin] + text[match.end :]
            cut_texts.append(text.decode("utf-8", "ignore"))
        return arrow.array(cut_texts, arrow.large_string())

    return rewrite_shard(shard, change), None
