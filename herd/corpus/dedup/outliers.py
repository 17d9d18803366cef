"""Documents unlike all others."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from herd.core.settings import PositiveInt, Share
from herd.corpus.dedup import dedups
from herd.corpus.kernels import corpus_kernels, pack_texts, pointer
from herd.corpus.shards import DedupResult, DocumentShard, DocumentShards, Removal, alive_texts

_BITS = 20  # words are counted in 2^20 buckets by their hashes


@dedups.add
def outlier_tokens(shards: DocumentShards, *, share: Share = 0.01, bins: PositiveInt = 20) -> DedupResult:
    """Drops the `share` of documents whose words are distributed least like the corpus's.

    By the Kullback-Leibler divergence of the document from the corpus, over the document's words, with one
    added to every count of the corpus. Short documents diverge more, so documents are compared within `bins`
    groups of like length.
    Source: Llama 3, 3.1.1, which gives neither direction, smoothing nor threshold: ours.
    """
    corpus = np.zeros(1 << _BITS, np.int64)
    for counts in shards.map(_count, "outlier_tokens"):
        corpus += counts
    np.save(shards.folder / "outlier_tokens" / "corpus.npy", corpus)
    shard_results = shards.map(_diverge, "outlier_tokens")
    rows = np.concatenate([result[0] for result in shard_results])
    scores = np.concatenate([result[1] for result in shard_results])
    words = np.concatenate([result[2] for result in shard_results])
    worst = _worst(scores, words, share, bins)
    dropped = Removal(rows[worst], "its words are unlike the corpus's")
    stats = {"divergence kept at most": float(scores[~worst].max(initial=0.0))}
    return DedupResult([dropped], stats)


def _worst(scores: NDArray[np.float64], words: NDArray[np.int32], share: float, bins: int) -> NDArray[np.bool_]:
    """In each bin of like length the same share of documents, those with the highest scores."""
    worst = np.zeros(len(scores), np.bool_)
    for own in np.array_split(np.argsort(words, kind="stable"), min(bins, max(1, len(scores)))):
        count = round(share * len(own))
        worst[own[np.argsort(-scores[own], kind="stable")[:count]]] = True
    return worst


def _count(shard: DocumentShard) -> NDArray[np.int64]:
    counts = np.zeros(1 << _BITS, np.int64)
    for _, texts in alive_texts(shard):
        corpus_kernels().herd_count_unigrams(pack_texts(texts).argument, ctypes.c_int32(_BITS), pointer(counts))
    return counts


def _diverge(shard: DocumentShard) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int32]]:
    corpus = np.load(shard.folder / "corpus.npy")
    rows, scores, words = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int32)]
    for numbers, texts in alive_texts(shard):
        packed = pack_texts(texts)
        divergence, word_counts = np.zeros(packed.count), np.zeros(packed.count, np.int32)
        corpus_kernels().herd_divergence(
            packed.argument, ctypes.c_int32(_BITS), pointer(corpus), pointer(divergence), pointer(word_counts)
        )
        rows.append(numbers)
        scores.append(divergence)
        words.append(word_counts)
    return np.concatenate(rows), np.concatenate(scores), np.concatenate(words)
