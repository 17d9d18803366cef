"""Sorted runs of keys: how steps over all documents find equal keys without holding them all.

A worker writes what it knows as arrays sorted by key. A reducer is given a range of keys and reads only its
slice of every run, by binary search in memory-mapped files: nothing is shuffled, and what a reducer holds is
bounded by the number of ranges, not by the input.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RANGE_KEYS = 24_000_000  # what a reducer sorts at once: some 600 MB with one column beside the keys
Keys = NDArray[np.uint64]


def write_run(folder: Path, name: str, keys: Keys, values: NDArray[np.int64] | None = None) -> None:
    """Keys, and a number beside each, sorted by key and then by number."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.argsort(keys, kind="stable")
    _save(folder / f"{name}.keys.npy", keys[order])
    if values is not None:
        _save(folder / f"{name}.values.npy", values[order])


def _save(file: Path, array: NDArray[np.generic]) -> None:
    # Two workers may be at it when one was given up for dead: each writes its own, and the last name stands.
    partial = file.with_name(f"{file.name}.{os.getpid()}")
    with partial.open("wb") as out:
        np.save(out, array)
    partial.rename(file)


def key_ranges(total: int) -> list[tuple[int, int]]:
    """The space of keys cut so that each range holds about RANGE_KEYS of `total` evenly spread ones."""
    count = max(1, -(-total // RANGE_KEYS))
    cuts = [(1 << 64) * number // count for number in range(count + 1)]
    return list(itertools.pairwise(cuts))


def read_range(
    folder: Path, names: Sequence[str], span: tuple[int, int], *, values: bool = True
) -> tuple[Keys, NDArray[np.int64]]:
    """All keys of the runs in [start, end), sorted, and what stands beside them, in the order of the runs."""
    keys, beside = [], []
    for name in names:
        run_keys = np.load(folder / f"{name}.keys.npy", mmap_mode="r")
        low = int(np.searchsorted(run_keys, np.uint64(span[0])))
        high = len(run_keys) if span[1] >= 1 << 64 else int(np.searchsorted(run_keys, np.uint64(span[1])))
        keys.append(np.asarray(run_keys[low:high]))
        if values:
            beside.append(np.asarray(np.load(folder / f"{name}.values.npy", mmap_mode="r")[low:high]))
    joined = np.concatenate(keys) if keys else np.empty(0, np.uint64)
    order = np.argsort(joined, kind="stable")
    values_in_order = np.concatenate(beside)[order] if values and beside else np.empty(0, np.int64)
    return joined[order], values_in_order


def group_starts(keys: Keys) -> NDArray[np.int64]:
    """Where each run of equal keys starts in sorted keys, and the end: [groups + 1]."""
    if not len(keys):
        return np.zeros(1, np.int64)
    changes = np.flatnonzero(keys[1:] != keys[:-1]) + 1
    return np.concatenate([[0], changes, [len(keys)]]).astype(np.int64)
