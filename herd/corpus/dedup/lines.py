"""Lines that stand on many pages: navigation, notices, greetings."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from herd.core.settings import PositiveInt
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
def frequent_lines(
    shards: DocumentShards, *, at_most: PositiveInt = 6, bucket_documents: PositiveInt = 30_000_000
) -> DedupResult:
    """Takes every copy of a line out of a bucket of documents in which it stands more than `at_most` times.

    Lines are equal when they differ in letter case, digits, punctuation and blanks only. Buckets are
    consecutive documents. A document of which nothing is left is dropped.
    Source: Llama 3, 3.1.1 (more than 6 times in each bucket of 30M documents); the key of a line is CCNet's
    (Wenzek et al. 2019, 3.1). Neither says whether one copy stays; CCNet's code keeps the first of all, and a
    line that stands seven times is seldom worth its one copy: here all go.
    """
    counts = shards.map(partial(_count_lines, bucket=bucket_documents), "frequent_lines")
    folder = shards.folder / "frequent_lines"
    frequent = 0
    for bucket in sorted(set[int]().union(*counts)):
        names = [f"{number:05}.{bucket}" for number, shard_counts in enumerate(counts) if bucket in shard_counts]
        bucket_lines = sum(shard_counts.get(bucket, 0) for shard_counts in counts)
        jobs = [(folder, names, span, at_most) for span in key_ranges(bucket_lines)]
        keys = np.concatenate([*shards.reduce(_frequent_keys, jobs), np.empty(0, np.uint64)])
        np.save(folder / f"frequent.{bucket}.npy", keys)
        frequent += len(keys)
    empty, lines = shards.rewrite(partial(_drop_frequent, bucket=bucket_documents), "frequent_lines")
    dropped = Removal(empty, "nothing but lines that stand on many pages")
    return DedupResult([dropped], {"different lines": frequent, "lines taken out": sum(lines)})


def line_keys(texts: arrow.Array) -> tuple[Keys, NDArray[np.int64]]:
    """The key of every line that says something, and where those of each text end."""
    with KernelResult("herd_line_keys", pack_texts(texts)) as result:
        return result.keys()


def _count_lines(shard: DocumentShard, *, bucket: int) -> dict[int, int]:
    """Writes how often each line stands in each bucket of this shard; returns how many different ones do."""
    keys_by_bucket: dict[int, list[Keys]] = {}
    for rows, texts in alive_texts(shard):
        keys, ends = line_keys(texts)
        row_buckets = np.repeat(rows // bucket, np.diff(ends))
        for bucket_number in np.unique(row_buckets).tolist():
            keys_by_bucket.setdefault(bucket_number, []).append(keys[row_buckets == bucket_number])
    key_counts = {}
    for bucket_number, key_arrays in keys_by_bucket.items():
        keys, times = np.unique(np.concatenate(key_arrays), return_counts=True)
        write_run(shard.folder, f"{shard.name}.{bucket_number}", keys, times.astype(np.int64))
        key_counts[bucket_number] = len(keys)
    return key_counts


def _frequent_keys(job: tuple[Path, list[str], tuple[int, int], int]) -> Keys:
    folder, names, span, at_most = job
    keys, times = read_range(folder, names, span)
    starts = group_starts(keys)
    if not len(keys):
        return keys
    return keys[starts[:-1]][np.add.reduceat(times, starts[:-1]) > at_most]


def _drop_frequent(shard: DocumentShard, *, bucket: int) -> tuple[RewrittenShard, int]:
    """The shard without the frequent lines, and how many went."""
    lines = 0

    def change(rows: RowNumbers, texts: arrow.Array) -> arrow.Array:
        nonlocal lines
        pieces = []
        for bucket_number in np.unique(rows // bucket).tolist():
            in_bucket = rows // bucket == bucket_number
            keys = np.load(shard.folder / f"frequent.{bucket_number}.npy")
            packed, dropped = pack_texts(texts.filter(arrow.array(in_bucket))), np.zeros(int(in_bucket.sum()), np.int32)
            arguments = (pointer(keys), ctypes.c_int64(len(keys)), pointer(dropped))
            with KernelResult("herd_drop_lines", packed, *arguments) as result:
                pieces.append(result.texts())
            lines += int(dropped.sum())
        return arrow.chunked_array(pieces).combine_chunks()

    return rewrite_shard(shard, change), lines
