"""Near-duplicates by MinHash and locality-sensitive hashing."""

from __future__ import annotations

import ctypes
import itertools
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from herd.core.settings import PositiveInt, Share
from herd.corpus.dedup import dedups
from herd.corpus.kernels import PackedTexts, corpus_kernels, pack_texts, pointer
from herd.corpus.results import Count, DedupSample
from herd.corpus.runs import group_starts, key_ranges, read_range, write_run
from herd.corpus.shards import DedupResult, DocumentShard, DocumentShards, Removal, alive_texts

# (bands, rows, words of an n-gram) as published: FineWeb 3.4, DCLM L.2.1, Lee et al. 4.1.
PRESETS = {"fineweb": (14, 8, 5), "dclm": (93, 15, 5), "lee": (450, 20, 5)}
_LARGEST_CLUSTERS = 20


class _Rules(ctypes.Structure):
    """As the kernel takes them."""

    _fields_ = (
        ("bands", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("words", ctypes.c_int32),
        ("fold_numbers", ctypes.c_int32),
        ("seed", ctypes.c_uint64),
    )


@dedups.add
def minhash(
    shards: DocumentShards,
    *,
    preset: Literal["fineweb", "dclm", "lee", "own"] = "fineweb",
    bands: PositiveInt = 14,
    rows: PositiveInt = 8,
    ngram_size: PositiveInt = 5,
    jaccard: Share = 0.0,
    fold_numbers: bool = True,
    within: Literal["all", "source", "month"] = "all",
    seed: int = 1,
) -> DedupResult:
    """Keeps one document of every cluster of near-duplicates: the first one.

    Documents become sets of n-grams of `ngram_size` words; two of them with Jaccard similarity s meet in one of
    the bands with probability 1 - (1 - s^rows)^bands, and whoever meets is in one cluster. bands, rows and
    ngram_size count with the preset `own`. jaccard: pairs whose estimated similarity is lower do not meet after all.
    fold_numbers: whether texts that differ in numbers only are the same, as FineWeb has it. within: who can
    meet whom. Llama 3 deduplicates globally; FineWeb found that worse than within one snapshot (their 3.4),
    whose stand-in here is the month a page was fetched.
    Source: Broder 1997; Llama 3, 3.1.1, which gives no numbers.
    """
    if preset != "own":
        bands, rows, ngram_size = PRESETS[preset]
    kernel = partial(
        _write_signatures, rules=(bands, rows, ngram_size, fold_numbers, seed), within=within, with_minima=jaccard > 0
    )
    counts = shards.map(kernel, "minhash")
    folder, names = shards.folder / "minhash", [f"{number:05}" for number in range(len(counts))]
    jobs = []
    for band in range(bands):
        band_names = [f"{name}.{band}" for name in names]
        jobs += [(folder, band_names, span) for span in key_ranges(sum(counts))]
    parent = np.arange(shards.total, dtype=np.int64)
    pairs = 0
    for first, second in shards.reduce(_matching_pairs, jobs):
        if jaccard:
            agreement = _minima_agreement(folder, shards.starts, first, second, bands * rows)
            first, second = first[agreement >= jaccard], second[agreement >= jaccard]
        union_pairs(parent, first, second)
        pairs += len(first)
    roots = find_roots(parent)
    copies = np.flatnonzero(roots != np.arange(len(roots)))
    clusters, largest = cluster_counts(shards, roots, copies)
    dropped = Removal(copies, "near-duplicate of {kept}", roots[copies])
    return DedupResult([dropped], clusters | {"pairs": pairs}, largest)


# ---- signatures ----


def signatures(
    texts: PackedTexts,
    bands: int,
    rows: int,
    ngram_size: int,
    fold_numbers: bool,
    seed: int,
    *,
    with_minima: bool = False,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32] | None]:
    """A key for every band of every text, [N, bands], 0 where a text has no word; and on demand all minima,
    [N, bands * rows]: two texts agree in as large a share of them as their Jaccard similarity, on average."""
    keys = np.zeros((texts.count, bands), np.uint64)
    minima = np.zeros((texts.count, bands * rows), np.uint32) if with_minima else None
    rules = _Rules(bands, rows, ngram_size, fold_numbers, seed & (1 << 64) - 1)
    address = pointer(minima) if minima is not None else None
    corpus_kernels().herd_minhash(texts.argument, ctypes.byref(rules), pointer(keys), address)
    return keys, minima


def _write_signatures(
    shard: DocumentShard, *, rules: tuple[int, int, int, bool, int], within: str, with_minima: bool
) -> int:
    """Writes a run of keys for every band; returns how many documents there are."""
    bands = rules[0]
    keys, numbers, minima = [np.empty((0, bands), np.uint64)], [np.empty(0, np.int64)], []
    groups = _groups(shard, within)
    for rows, texts in alive_texts(shard):
        band_keys, signature = signatures(pack_texts(texts), *rules, with_minima=with_minima)
        if groups is not None:
            band_keys = np.where(band_keys == 0, band_keys, band_keys ^ groups[rows - shard.first_row][:, None])
        keys.append(band_keys)
        numbers.append(rows)
        minima += [] if signature is None else [signature]
    all_keys, rows = np.concatenate(keys), np.concatenate(numbers)
    for band in range(bands):
        write_run(shard.folder, f"{shard.name}.{band}", np.ascontiguousarray(all_keys[:, band]), rows)
    if with_minima:
        np.save(shard.folder / f"{shard.name}.rows.npy", rows)
        np.save(shard.folder / f"{shard.name}.minima.npy", np.concatenate(minima) if minima else np.empty((0, 1)))
    return len(rows)


def _groups(shard: DocumentShard, within: str) -> NDArray[np.uint64] | None:
    if within == "all":
        return None
    column = "source" if within == "source" else "added"
    labels: list[str] = []
    for _, batch in shard.batches(column):
        labels += batch.column(column).to_pylist()
    if within == "month":
        labels = [label[:7] for label in labels]
    return np.array([xxhash.xxh3_64_intdigest(label.encode()) for label in labels], np.uint64)


# ---- clusters ----


def _matching_pairs(job: tuple[Path, list[str], tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of documents with equal keys: each with the first of its group."""
    folder, names, span = job
    keys, numbers = read_range(folder, names, span)
    empty = int(np.searchsorted(keys, np.uint64(0), side="right"))  # texts without a word
    keys, numbers = keys[empty:], numbers[empty:]
    starts = group_starts(keys)
    if not len(keys):
        return numbers, numbers
    sizes = np.diff(starts)
    first = np.repeat(np.minimum.reduceat(numbers, starts[:-1]), sizes)
    return first[numbers != first], numbers[numbers != first]


def _minima_agreement(
    folder: Path, starts: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], size: int
) -> NDArray[np.float64]:
    """The share of minima that each pair has in common."""

    def minima(numbers: NDArray[np.int64]) -> NDArray[np.uint32]:
        out = np.zeros((len(numbers), size), np.uint32)
        shard_of = np.searchsorted(starts, numbers, side="right") - 1
        for shard in np.unique(shard_of).tolist():
            rows = np.load(folder / f"{shard:05}.rows.npy", mmap_mode="r")
            shard_minima = np.load(folder / f"{shard:05}.minima.npy", mmap_mode="r")
            in_shard = shard_of == shard
            out[in_shard] = shard_minima[np.searchsorted(rows, numbers[in_shard])]
        return out

    step = 1 << 16
    shares = [
        (minima(first[at : at + step]) == minima(second[at : at + step])).mean(axis=1)
        for at in range(0, len(first), step)
    ]
    return np.concatenate(shares) if shares else np.empty(0)


def union_pairs(parent: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    """Puts the members of each pair into one set; the smallest member stands for it."""
    first, second = np.ascontiguousarray(first), np.ascontiguousarray(second)
    corpus_kernels().herd_join(pointer(parent), pointer(first), pointer(second), ctypes.c_int64(len(first)))


def find_roots(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """The member that stands for each one's set."""
    while True:
        above = parent[parent]
        if np.array_equal(above, parent):
            return parent
        parent = above


def cluster_counts(
    shards: DocumentShards, roots: NDArray[np.int64], copies: NDArray[np.int64]
) -> tuple[dict[str, Count], list[DedupSample]]:
    """How large clusters are, and the largest of them with the ids of some members."""
    heads, sizes = np.unique(roots[copies], return_counts=True)
    sizes = sizes + 1
    edges = [2, 3, 5, 10, 100, 1000, 1 << 60]
    histogram = {
        f"{low}" if high == low + 1 else f"{low} to {high - 1}" if high < 1 << 60 else f"{low} or more": int(
            ((sizes >= low) & (sizes < high)).sum()
        )
        for low, high in itertools.pairwise(edges)
    }
    order = np.argsort(-sizes, kind="stable")[:_LARGEST_CLUSTERS]
    members = {int(head): copies[roots[copies] == head][:4] for head in heads[order]}
    row_numbers = np.concatenate([[head, *rows] for head, rows in members.items()]) if members else np.empty(0)
    names = shards.values("id", row_numbers.astype(np.int64))
    largest: list[DedupSample] = []
    for head, size in zip(heads[order].tolist(), sizes[order].tolist(), strict=True):
        dropped = tuple(names[row] for row in members[head].tolist())
        largest.append({"size": size, "kept": names[head], "dropped": dropped})
    return {"clusters": len(heads), "copies": len(copies), "sizes": histogram}, largest
