"""Documents and paragraphs that were seen before, by a Bloom filter."""

from __future__ import annotations

import ctypes
import math
from functools import partial

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from herd.core.settings import Positive, Rate, Share
from herd.corpus.dedup import dedups
from herd.corpus.kernels import Result, pack, pointer
from herd.corpus.parts import Changed, Dropped, Job, Outcome, Parts, Rows, rewrite


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
    parts: Parts,
    *,
    words: Positive = 13,
    threshold: Share = 0.8,
    false_positives: Rate = 0.01,
    expected: Positive = 100_000_000,
    filters: Positive = 1,
    whole_documents: bool = True,
) -> Outcome:
    """Takes out paragraphs of whose runs of `words` words more than `threshold` stood before, and such documents.

    In the order of the documents: the first stays. expected: how many different runs; it sizes the filter so
    that at most `false_positives` of new ones are taken for old. filters: consecutive documents are split over
    so many, which work side by side and know nothing of each other (DCLM ran 100). Shorter paragraphs stay.
    Source: Li et al. 2024 (DCLM), L.1, old-both, with min_ngram = max_ngram = 13.
    """
    bits, hashes = filter_size(expected, false_positives)
    folder = parts.folder / "bloom"
    rules = (bits, hashes, words, words, threshold, int(whole_documents))
    jobs = parts.jobs(folder)
    shares = [jobs[len(jobs) * k // filters : len(jobs) * (k + 1) // filters] for k in range(filters)]
    found = [one for results in parts.reduce(partial(_read, rules=rules), shares) for one in results]
    gone = parts.replace([changed for changed, _ in found])
    total, seen = np.sum([counts for _, counts in found], axis=0).tolist() if found else (0, 0)
    counts = {"runs": total, "runs seen before": seen, "filter bytes": bits // 8, "hashes": hashes}
    return Outcome([Dropped(gone, "seen before")], counts)


def filter_size(expected: int, false_positives: float) -> tuple[int, int]:
    """Bits and hash functions of a filter that takes new keys for old ones at this rate, once it is full.

    Source: Li et al. 2024, L.1: k = -ln e / ln 2, and m the smallest with (1 - exp(-k n / m))^k <= e.
    """
    hashes = max(1, round(-math.log(false_positives) / math.log(2)))
    low, high = 64, 64
    while _rate(high, hashes, expected) > false_positives:
        high *= 2
    while low < high:
        middle = (low + high) // 2
        if _rate(middle, hashes, expected) <= false_positives:
            high = middle
        else:
            low = middle + 1
    return (low + 63) // 64 * 64, hashes


def _rate(bits: int, hashes: int, expected: int) -> float:
    return (1 - math.exp(-hashes * expected / bits)) ** hashes


def _read(jobs: list[Job], *, rules: tuple[int, int, int, int, float, int]) -> list[tuple[Changed, NDArray[np.int64]]]:
    """The parts without what was seen before, and how many runs each has and how many of them were seen; the
    filter lives in this one process."""
    seen = np.zeros(rules[0] // 64, np.uint64)
    known = _Rules(*rules)
    total = np.zeros(2, np.int64)

    def change(_: Rows, texts: arrow.Array) -> arrow.Array:
        packed = pack(texts)
        counts = np.zeros((packed.count, 2), np.int64)
        with Result("herd_bloom_texts", packed, ctypes.byref(known), pointer(seen), pointer(counts)) as made:
            total[:] += counts.sum(axis=0)
            return made.texts()

    found = []
    for job in jobs:
        total[:] = 0
        found.append((rewrite(job, change), total.copy()))
    return found
