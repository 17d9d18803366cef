"""Lines that stand on many pages: navigation, notices, greetings."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from herd.core.settings import Positive
from herd.corpus.dedup import dedups
from herd.corpus.kernels import Result, pack, pointer
from herd.corpus.parts import Changed, Dropped, Job, Outcome, Parts, Rows, alive_texts, rewrite
from herd.corpus.runs import Keys, group_starts, ranges, read_range, write_run


@dedups.add
def frequent_lines(parts: Parts, *, at_most: Positive = 6, bucket_documents: Positive = 30_000_000) -> Outcome:
    """Takes every copy of a line out of a bucket of documents in which it stands more than `at_most` times.

    Lines are equal when they differ in letter case, digits, punctuation and blanks only. Buckets are
    consecutive documents. A document of which nothing is left is dropped.
    Source: Llama 3, 3.1.1 (more than 6 times in each bucket of 30M documents); the key of a line is CCNet's
    (Wenzek et al. 2019, 3.1). Neither says whether one copy stays; CCNet's code keeps the first of all, and a
    line that stands seven times is seldom worth its one copy: here all go.
    """
    counts = parts.map(partial(_count, bucket=bucket_documents), "frequent_lines")
    folder = parts.folder / "frequent_lines"
    frequent = 0
    for bucket in sorted({one for found in counts for one in found}):
        names = [f"{number:05}.{bucket}" for number, found in enumerate(counts) if bucket in found]
        jobs = [(folder, names, span, at_most) for span in ranges(sum(found.get(bucket, 0) for found in counts))]
        keys = np.concatenate([*parts.reduce(_frequent, jobs), np.empty(0, np.uint64)])
        np.save(folder / f"frequent.{bucket}.npy", keys)
        frequent += len(keys)
    gone, lines = parts.rewrite(partial(_without, bucket=bucket_documents), "frequent_lines")
    dropped = Dropped(gone, "nothing but lines that stand on many pages")
    return Outcome([dropped], {"different lines": frequent, "lines taken out": sum(lines)})


def line_keys(texts: arrow.Array) -> tuple[Keys, NDArray[np.int64]]:
    """The key of every line that says something, and where those of each text end."""
    with Result("herd_line_keys", pack(texts)) as made:
        return made.keys()


def _count(job: Job, *, bucket: int) -> dict[int, int]:
    """Writes how often each line stands in each bucket of this part; returns how many different ones do."""
    found: dict[int, list[Keys]] = {}
    for rows, texts in alive_texts(job):
        keys, ends = line_keys(texts)
        of_row = np.repeat(rows // bucket, np.diff(ends))
        for one in np.unique(of_row).tolist():
            found.setdefault(one, []).append(keys[of_row == one])
    different = {}
    for one, pieces in found.items():
        keys, times = np.unique(np.concatenate(pieces), return_counts=True)
        write_run(job.folder, f"{job.name}.{one}", keys, times.astype(np.int64))
        different[one] = len(keys)
    return different


def _frequent(job: tuple[Path, list[str], tuple[int, int], int]) -> Keys:
    folder, names, span, at_most = job
    keys, times = read_range(folder, names, span)
    starts = group_starts(keys)
    if not len(keys):
        return keys
    return keys[starts[:-1]][np.add.reduceat(times, starts[:-1]) > at_most]


def _without(job: Job, *, bucket: int) -> tuple[Changed, int]:
    """The part without the frequent lines, and how many went."""
    lines = 0

    def change(rows: Rows, texts: arrow.Array) -> arrow.Array:
        nonlocal lines
        pieces = []
        for one in np.unique(rows // bucket).tolist():
            own = rows // bucket == one
            keys = np.load(job.folder / f"frequent.{one}.npy")
            packed, dropped = pack(texts.filter(arrow.array(own))), np.zeros(int(own.sum()), np.int32)
            arguments = (pointer(keys), ctypes.c_int64(len(keys)), pointer(dropped))
            with Result("herd_drop_lines", packed, *arguments) as made:
                pieces.append(made.texts())
            lines += int(dropped.sum())
        return arrow.chunked_array(pieces).combine_chunks()

    return rewrite(job, change), lines
