"""Documents unlike all others."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from herd.core.settings import Positive, Share
from herd.corpus.dedup import dedups
from herd.corpus.kernels import library, pack, pointer
from herd.corpus.parts import Dropped, Job, Outcome, Parts, alive_texts

_BITS = 20  # words are counted in 2^20 buckets by their hashes


@dedups.add
def outlier_tokens(parts: Parts, *, share: Share = 0.01, bins: Positive = 20) -> Outcome:
    """Drops the `share` of documents whose words are distributed least like the corpus's.

    By the Kullback-Leibler divergence of the document from the corpus, over the document's words, with one
    added to every count of the corpus. Short documents diverge more, so documents are compared within `bins`
    groups of like length.
    Source: Llama 3, 3.1.1, which gives neither direction, smoothing nor threshold: ours.
    """
    corpus = np.zeros(1 << _BITS, np.int64)
    for counts in parts.map(_count, "outlier_tokens"):
        corpus += counts
    np.save(parts.folder / "outlier_tokens" / "corpus.npy", corpus)
    found = parts.map(_diverge, "outlier_tokens")
    rows = np.concatenate([one[0] for one in found])
    scores = np.concatenate([one[1] for one in found])
    words = np.concatenate([one[2] for one in found])
    worst = _worst(scores, words, share, bins)
    dropped = Dropped(rows[worst], "its words are unlike the corpus's")
    stats = {"divergence kept at most": float(scores[~worst].max(initial=0.0))}
    return Outcome([dropped], stats)


def _worst(scores: NDArray[np.float64], words: NDArray[np.int32], share: float, bins: int) -> NDArray[np.bool_]:
    """In each bin of like length the same share of documents, those with the highest scores."""
    worst = np.zeros(len(scores), np.bool_)
    for own in np.array_split(np.argsort(words, kind="stable"), min(bins, max(1, len(scores)))):
        count = round(share * len(own))
        worst[own[np.argsort(-scores[own], kind="stable")[:count]]] = True
    return worst


def _count(job: Job) -> NDArray[np.int64]:
    counts = np.zeros(1 << _BITS, np.int64)
    for _, texts in alive_texts(job):
        library().herd_count_unigrams(pack(texts).argument, ctypes.c_int32(_BITS), pointer(counts))
    return counts


def _diverge(job: Job) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int32]]:
    corpus = np.load(job.folder / "corpus.npy")
    rows, scores, words = [np.empty(0, np.int64)], [np.empty(0)], [np.empty(0, np.int32)]
    for numbers, texts in alive_texts(job):
        packed = pack(texts)
        found, counted = np.zeros(packed.count), np.zeros(packed.count, np.int32)
        library().herd_divergence(
            packed.argument, ctypes.c_int32(_BITS), pointer(corpus), pointer(found), pointer(counted)
        )
        rows.append(numbers)
        scores.append(found)
        words.append(counted)
    return np.concatenate(rows), np.concatenate(scores), np.concatenate(words)
