"""Long passages that stand in more than one place."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from herd.core.settings import PositiveInt
from herd.corpus.contamination import count_plain_words
from herd.corpus.dedup import dedups
from herd.corpus.kernels import KernelResult, pack_texts, pointer
from herd.corpus.runs import Keys, group_starts, key_ranges, read_range, write_run
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


@dedups.add
def exact_substrings(
    shards: DocumentShards,
    *,
    min_substring_words: PositiveInt = 50,
    passes: PositiveInt = 2,
    keep_first: bool = False,
    min_document_words: int = 0,
) -> DedupResult:
    """Cuts out every passage of at least `min_substring_words` words that stands in more than one place.

    keep_first: whether its first place keeps it; the paper cuts all. passes: cutting brings together what was
    apart, so a second pass finds a little more. min_document_words: documents with fewer words left are dropped, as
    those with none always are.
    Source: Lee et al. 2022, 4.1 (ExactSubstr). Differs: they sort suffixes; here the 64-bit hashes of all runs
    of `min_substring_words` words are sorted. What such runs cover, when they stand twice, is exactly what repeats of
    at least that length cover, the work splits into ranges of hashes on any number of machines, and no file is limited
    to 2 GB. Words are those of our rules and not pieces of BPE.
    """
    counts: dict[str, int] = {}
    all_removed: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for number in range(1, passes + 1):
        step = f"exact_substrings.{number}"
        cut, removed = _one_pass(shards, step, min_substring_words, keep_first, min_document_words)
        counts[f"words cut in pass {number}"] = cut
        all_removed.append(removed)
        shards.alive[removed] = False
        if not cut:
            break
    removed = np.concatenate(all_removed)
    reason = (
        "nothing but passages that stand elsewhere too" if not min_document_words else "too little left beside passages"
    )
    return DedupResult([Removal(removed, reason)], counts)


def _one_pass(
    shards: DocumentShards, step: str, words: int, keep_first: bool, least_words: int
) -> tuple[int, NDArray[np.int64]]:
    """How many words were cut, and the documents that have nothing left."""
    counts = shards.map(partial(_windows, words=words), step)
    folder, names = shards.folder / step, [f"{number:05}" for number in range(len(counts))]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    np.save(folder / "starts.npy", starts)
    jobs = [(folder, names, span, starts) for span in key_ranges(int(starts[-1]))]
    results = list(shards.reduce(_repeated_keys, jobs))
    np.save(folder / "repeated.npy", np.concatenate([*(keys for keys, _ in results), np.empty(0, np.uint64)]))
    np.save(folder / "first.npy", np.concatenate([*(first for _, first in results), np.empty(0, np.int64)]))
    kernel = partial(_cut, words=words, keep_first=keep_first, least_words=least_words)
    empty, results = shards.rewrite(kernel, step)
    return sum(cut for cut, _ in results), np.unique(np.concatenate([empty, *(short for _, short in results)]))


def _windows(shard: DocumentShard, *, words: int) -> int:
    """Writes the hash of every run of `words` words, and its number in the shard beside it."""
    key_arrays = [np.empty(0, np.uint64)]
    for _, texts in alive_texts(shard):
        with KernelResult("herd_window_keys", pack_texts(texts), ctypes.c_int32(words)) as result:
            key_arrays.append(result.keys()[0])
    keys = np.concatenate(key_arrays)
    write_run(shard.folder, shard.name, keys, np.arange(len(keys), dtype=np.int64))
    return len(keys)


def _repeated_keys(
    job: tuple[Path, list[str], tuple[int, int], NDArray[np.int64]],
) -> tuple[Keys, NDArray[np.int64]]:
    """Hashes that stand in two places or more, sorted, and the number of the first place of each."""
    folder, names, span, first_of_part = job
    pieces = [read_range(folder, [name], span) for name in names]
    keys = np.concatenate([keys for keys, _ in pieces])
    numbers = np.concatenate([own + first for (_, own), first in zip(pieces, first_of_part[:-1], strict=True)])
    order = np.argsort(keys, kind="stable")
    keys, numbers = keys[order], numbers[order]
    starts = group_starts(keys)
    if not len(keys):
        return keys, numbers
    twice = np.diff(starts) > 1
    return keys[starts[:-1]][twice], np.minimum.reduceat(numbers, starts[:-1])[twice]


def _cut(
    shard: DocumentShard, *, words: int, keep_first: bool, least_words: int
) -> tuple[RewrittenShard, tuple[int, RowNumbers]]:
    """The shard without what stands elsewhere too; how many words went, and documents with too few left."""
    keys, first = np.load(shard.folder / "repeated.npy"), np.load(shard.folder / "first.npy")
    start = int(np.load(shard.folder / "starts.npy")[shard.number])
    cut, short = 0, [np.empty(0, np.int64)]

    def change(rows: RowNumbers, texts: arrow.Array) -> arrow.Array:
        nonlocal start, cut
        packed = pack_texts(texts)
        words_cut = np.zeros(packed.count, np.int32)
        arguments = (
            ctypes.c_int32(words),
            pointer(keys),
            pointer(first) if keep_first else None,
            ctypes.c_int64(len(keys)),
            ctypes.c_int64(start),
            pointer(words_cut),
        )
        with KernelResult("herd_cut_repeats", packed, *arguments) as result:
            new = result.texts()
        with KernelResult("herd_window_keys", packed, ctypes.c_int32(words)) as result:
            start += len(result.keys()[0])
        if least_words:
            word_counts = count_plain_words(new)
            short.append(rows[(words_cut > 0) & (word_counts < least_words)])
        cut += int(words_cut.sum())
        return new

    return rewrite_shard(shard, change), (cut, np.concatenate(short))
