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

from herd.core.settings import Positive, Share
from herd.corpus.dedup import dedups
from herd.corpus.kernels import Packed, library, pack, pointer
from herd.corpus.parts import Dropped, Job, Outcome, Parts, alive_texts
from herd.corpus.results import Count, Sample
from herd.corpus.runs import group_starts, ranges, read_range, write_run

# (bands, rows, words of a run) as published: FineWeb 3.4, DCLM L.2.1, Lee et al. 4.1.
PRESETS = {"fineweb": (14, 8, 5), "dclm": (93, 15, 5), "lee": (450, 20, 5)}
_LARGEST_SHOWN = 20


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
    parts: Parts,
    *,
    preset: Literal["fineweb", "dclm", "lee", "own"] = "fineweb",
    bands: Positive = 14,
    rows: Positive = 8,
    words: Positive = 5,
    jaccard: Share = 0.0,
    fold_numbers: bool = True,
    within: Literal["all", "source", "month"] = "all",
    seed: int = 1,
) -> Outcome:
    """Keeps one document of every cluster of near-duplicates: the first one.

    Documents become sets of runs of `words` words; two of them with Jaccard similarity s meet in one of
    the bands with probability 1 - (1 - s^rows)^bands, and whoever meets is in one cluster. bands, rows and
    words count with the preset `own`. jaccard: pairs whose estimated similarity is lower do not meet after all.
    fold_numbers: whether texts that differ in numbers only are the same, as FineWeb has it. within: who can
    meet whom. Llama 3 deduplicates globally; FineWeb found that worse than within one snapshot (their 3.4),
    whose stand-in here is the month a page was fetched.
    Source: Broder 1997; Llama 3, 3.1.1, which gives no numbers.
    """
    if preset != "own":
        bands, rows, words = PRESETS[preset]
    kernel = partial(_sign, rules=(bands, rows, words, fold_numbers, seed), within=within, whole=jaccard > 0)
    counts = parts.map(kernel, "minhash")
    folder, names = parts.folder / "minhash", [f"{number:05}" for number in range(len(counts))]
    jobs = [
        (folder, [f"{name}.{band}" for name in names], span) for band in range(bands) for span in ranges(sum(counts))
    ]
    parent = np.arange(parts.total, dtype=np.int64)
    pairs = 0
    for left, right in parts.reduce(_meet, jobs):
        if jaccard:
            agree = _agree(folder, parts.starts, left, right, bands * rows)
            left, right = left[agree >= jaccard], right[agree >= jaccard]
        join(parent, left, right)
        pairs += len(left)
    roots = settle(parent)
    copies = np.flatnonzero(roots != np.arange(len(roots)))
    clusters, largest = cluster_counts(parts, roots, copies)
    dropped = Dropped(copies, "near-duplicate of {kept}", roots[copies])
    return Outcome([dropped], clusters | {"pairs": pairs}, largest)


# ---- signatures ----


def signatures(
    texts: Packed, bands: int, rows: int, words: int, fold_numbers: bool, seed: int, *, whole: bool = False
) -> tuple[NDArray[np.uint64], NDArray[np.uint32] | None]:
    """A key for every band of every text, [N, bands], 0 where a text has no word; and on demand all minima,
    [N, bands * rows]: two texts agree in as large a share of them as their Jaccard similarity, on average."""
    keys = np.zeros((texts.count, bands), np.uint64)
    minima = np.zeros((texts.count, bands * rows), np.uint32) if whole else None
    rules = _Rules(bands, rows, words, fold_numbers, seed & (1 << 64) - 1)
    address = pointer(minima) if minima is not None else None
    library().herd_minhash(texts.argument, ctypes.byref(rules), pointer(keys), address)
    return keys, minima


def _sign(job: Job, *, rules: tuple[int, int, int, bool, int], within: str, whole: bool) -> int:
    """Writes a run of keys for every band; returns how many documents there are."""
    bands = rules[0]
    keys, numbers, minima = [np.empty((0, bands), np.uint64)], [np.empty(0, np.int64)], []
    groups = _groups(job, within)
    for rows, texts in alive_texts(job):
        found, signature = signatures(pack(texts), *rules, whole=whole)
        if groups is not None:
            found = np.where(found == 0, found, found ^ groups[rows - job.first][:, None])
        keys.append(found)
        numbers.append(rows)
        minima += [] if signature is None else [signature]
    every, rows = np.concatenate(keys), np.concatenate(numbers)
    for band in range(bands):
        write_run(job.folder, f"{job.name}.{band}", np.ascontiguousarray(every[:, band]), rows)
    if whole:
        np.save(job.folder / f"{job.name}.rows.npy", rows)
        np.save(job.folder / f"{job.name}.minima.npy", np.concatenate(minima) if minima else np.empty((0, 1)))
    return len(rows)


def _groups(job: Job, within: str) -> NDArray[np.uint64] | None:
    if within == "all":
        return None
    column = "source" if within == "source" else "added"
    labels = [label for _, batch in job.batches(column) for label in batch.column(column).to_pylist()]
    if within == "month":
        labels = [label[:7] for label in labels]
    return np.array([xxhash.xxh3_64_intdigest(label.encode()) for label in labels], np.uint64)


# ---- clusters ----


def _meet(job: tuple[Path, list[str], tuple[int, int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
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


def _agree(
    folder: Path, starts: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64], size: int
) -> NDArray[np.float64]:
    """The share of minima that each pair has in common."""

    def minima(numbers: NDArray[np.int64]) -> NDArray[np.uint32]:
        out = np.zeros((len(numbers), size), np.uint32)
        part_of = np.searchsorted(starts, numbers, side="right") - 1
        for part in np.unique(part_of).tolist():
            rows = np.load(folder / f"{part:05}.rows.npy", mmap_mode="r")
            held = np.load(folder / f"{part:05}.minima.npy", mmap_mode="r")
            own = part_of == part
            out[own] = held[np.searchsorted(rows, numbers[own])]
        return out

    step = 1 << 16
    shares = [
        (minima(left[at : at + step]) == minima(right[at : at + step])).mean(axis=1) for at in range(0, len(left), step)
    ]
    return np.concatenate(shares) if shares else np.empty(0)


def join(parent: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Puts the members of each pair into one set; the smallest member stands for it."""
    left, right = np.ascontiguousarray(left), np.ascontiguousarray(right)
    library().herd_join(pointer(parent), pointer(left), pointer(right), ctypes.c_int64(len(left)))


def settle(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """The member that stands for each one's set."""
    while True:
        above = parent[parent]
        if np.array_equal(above, parent):
            return parent
        parent = above


def cluster_counts(
    parts: Parts, roots: NDArray[np.int64], copies: NDArray[np.int64]
) -> tuple[dict[str, Count], list[Sample]]:
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
    order = np.argsort(-sizes, kind="stable")[:_LARGEST_SHOWN]
    members = {int(head): copies[roots[copies] == head][:4] for head in heads[order]}
    wanted = np.concatenate([[head, *rows] for head, rows in members.items()]) if members else np.empty(0)
    names = parts.values("id", wanted.astype(np.int64))
    largest: list[Sample] = [
        {"size": int(size), "kept": names[int(head)], "dropped": tuple(names[int(row)] for row in members[int(head)])}
        for head, size in zip(heads[order], sizes[order], strict=True)
    ]
    return {"clusters": len(heads), "copies": len(copies), "sizes": histogram}, largest
