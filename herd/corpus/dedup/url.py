"""One version of every address."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xxhash
from numpy.typing import NDArray

from herd.corpus.dedup import dedups
from herd.corpus.runs import group_starts, key_ranges, read_range, write_run
from herd.corpus.shards import DedupResult, DocumentShard, DocumentShards, Removal
from herd.corpus.urls import url_key


@dedups.add
def newest_by_url(shards: DocumentShards) -> DedupResult:
    """Keeps the most recent version of every URL.

    Addresses are the same when they differ in scheme, `www.`, letter case of the host, fragment or a
    trailing slash only; of versions of one day the later in the input stays. Documents without URL stay.
    Source: Llama 3, 3.1.1, which does not say when two URLs are the same.
    """
    counts = shards.map(_write_url_keys, "newest_by_url")
    names = [f"{number:05}" for number in range(len(counts))]
    folder = shards.folder / "newest_by_url"
    jobs = [(folder, names, span) for span in key_ranges(sum(counts))]
    older, newest = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for rows, survivors in shards.reduce(_older_versions, jobs):
        older.append(rows)
        newest.append(survivors)
    return DedupResult([Removal(np.concatenate(older), "older version of {kept}", np.concatenate(newest))])


def _write_url_keys(shard: DocumentShard) -> int:
    """Writes a key of every URL, and beside it day and number, later ones larger."""
    mask = shard.mask()
    keys, ages = [], []
    for start, batch in shard.batches("url", "added"):
        urls, days = batch.column("url").to_pylist(), batch.column("added").to_pylist()
        for row in np.flatnonzero(mask[start : start + batch.num_rows]).tolist():
            if urls[row]:
                keys.append(xxhash.xxh3_64_intdigest(url_key(urls[row]).encode()))
                ages.append(_day(days[row]) << 40 | (shard.first_row + start + row))
    write_run(shard.folder, shard.name, np.array(keys, np.uint64), np.array(ages, np.int64))
    return len(keys)


def _day(added: str) -> int:
    """Days since the year 0, roughly, in 23 bits; 0 where none is known."""
    digits = [int(part) for part in added[:10].split("-") if part.isascii() and part.isdigit()]
    return min(8191, digits[0]) * 416 + digits[1] * 32 + digits[2] if len(digits) == 3 else 0


def _older_versions(job: tuple[Path, list[str], tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    folder, names, span = job
    keys, ages = read_range(folder, names, span)
    order = np.lexsort((ages, keys))
    keys, numbers = keys[order], ages[order] & ((1 << 40) - 1)
    starts = group_starts(keys)
    if not len(keys):
        return numbers, numbers
    newest = numbers[starts[1:] - 1]
    survivors = np.repeat(newest, np.diff(starts))
    return numbers[numbers != survivors], survivors[numbers != survivors]
