"""Documents and paragraphs that were seen before, by a Bloom filter."""

from __future__ import annotations

import ctypes
import itertools
import math
from functools import partial

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from herd.core.settings import PositiveFloat, PositiveInt, Share
from herd.corpus.dedup import dedups
from herd.corpus.kernels import KernelResult, pack_texts, pointer
from herd.corpus.shards import (
    DedupResult,
    DocumentShard,
    DocumentShards,
    Removal,
    RewrittenShard,
    RowNumbers,
    rewrite_shard,
)


class _Rules(ctypes.Structure):
    """As the kernels take them."""

    _fields_ = (
        ("bits", ctypes.c_int64),
        ("hashes", ctypes.c_int32),
        ("least", ctypes.c_int32),
        ("most", ctypes.c_int32),
        ("threshold", ctypes.c_double),
        ("documents", ctypes.c_int32),
    )


@dedups.add
def bloom(
    shards: DocumentShards,
    *,
    ngram_size: PositiveInt = 13,
    threshold: Share = 0.8,
    false_positive_rate: PositiveFloat = 0.01,
    expected_ngrams: PositiveInt = 100_000_000,
    filters: PositiveInt = 1,
    drop_documents: bool = True,
) -> DedupResult:
    """Takes out paragraphs of whose n-grams of `ngram_size` words more than `threshold` stood before, and such
    documents.

    In the order of the documents: the first stays. expected_ngrams: how many different n-grams; it sizes the filter so
    that at most `false_positive_rate` of new ones are taken for old. filters: consecutive documents are split over
    so many, which work side by side and know nothing of each other (DCLM ran 100). Shorter paragraphs stay.
    Source: Li et al. 2024 (DCLM), L.1, old-both, with min_ngram = max_ngram = 13.
    """
    bits, hashes = filter_size(expected_ngrams, false_positive_rate)
    folder = shards.folder / "bloom"
    rules = (bits, hashes, ngram_size, ngram_size, threshold, int(drop_documents))
    shard_list = shards.snapshot(folder)
    groups = [shard_list[len(shard_list) * k // filters : len(shard_list) * (k + 1) // filters] for k in range(filters)]
    results = list(itertools.chain.from_iterable(shards.reduce(partial(_filter_shards, rules=rules), groups)))
    empty = shards.replace([rewritten for rewritten, _ in results])
    total, repeated = np.sum([counts for _, counts in results], axis=0).tolist() if results else (0, 0)
    counts = {"n-grams": total, "n-grams seen before": repeated, "filter bytes": bits // 8, "hashes": hashes}
    return DedupResult([Removal(empty, "seen before")], counts)


def filter_size(expected_ngrams: int, false_positive_rate: float) -> tuple[int, int]:
    """Bits and hash functions of a filter that takes new keys for old ones at this rate, once it is full.

    Source: Li et al. 2024, L.1: k = -ln e / ln 2, and m the smallest with (1 - exp(-k n / m))^k <= e.
    """
    hashes = max(1, round(-math.log(false_positive_rate) / math.log(2)))
    low, high = 64, 64
    while _full_filter_rate(high, hashes, expected_ngrams) > false_positive_rate:
        high *= 2
    while low < high:
        middle = (low + high) // 2
        if _full_filter_rate(middle, hashes, expected_ngrams) <= false_positive_rate:
            high = middle
        else:
            low = middle + 1
    return (low + 63) // 64 * 64, hashes


def _full_filter_rate(bits: int, hashes: int, expected_ngrams: int) -> float:
    return (1 - math.exp(-hashes * expected_ngrams / bits)) ** hashes


def _filter_shards(
    shards: list[DocumentShard], *, rules: tuple[int, int, int, int, float, int]
) -> list[tuple[RewrittenShard, NDArray[np.int64]]]:
    """The shards without what was seen before, and how many n-grams each has and how many of them were seen; the
    filter lives in this one process."""
    bits = np.zeros(rules[0] // 64, np.uint64)
    kernel_rules = _Rules(*rules)
    total = np.zeros(2, np.int64)

    def change(_: RowNumbers, texts: arrow.Array) -> arrow.Array:
        packed = pack_texts(texts)
        counts = np.zeros((packed.count, 2), np.int64)
        with KernelResult(
            "herd_bloom_texts", packed, ctypes.byref(kernel_rules), pointer(bits), pointer(counts)
        ) as result:
            total[:] += counts.sum(axis=0)
            return result.texts()

    results = []
    for shard in shards:
        total[:] = 0
        results.append((rewrite_shard(shard, change), total.copy()))
    return results
