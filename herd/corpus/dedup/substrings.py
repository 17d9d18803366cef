"""Long passages that stand in more than one place."""

from __future__ import annotations

import ctypes
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as arrow
from numpy.typing import NDArray

from herd.core.settings import Positive
from herd.corpus.contamination import count_words
from herd.corpus.dedup import dedups
from herd.corpus.kernels import Result, pack, pointer
from herd.corpus.parts import Changed, Dropped, Job, Outcome, Parts, Rows, alive_texts, rewrite
from herd.corpus.runs import Keys, group_starts, ranges, read_range, write_run


@dedups.add
def repeated_passages(
    parts: Parts, *, words: Positive = 50, passes: Positive = 2, keep_first: bool = False, least_words: int = 0
) -> Outcome:
    """Cuts out every passage of at least `words` words that stands in more than one place.

    keep_first: whether its first place keeps it; the paper cuts all. passes: cutting brings together what was
    apart, so a second pass finds a little more. least_words: documents with fewer words left are dropped, as
    those with none always are.
    Source: Lee et al. 2022, 4.1 (ExactSubstr). Differs: they sort suffixes; here the 64-bit hashes of all runs
    of `words` words are sorted. What such runs cover, when they stand twice, is exactly what repeats of at least
    that length cover, the work splits into ranges of hashes on any number of machines, and no file is limited
    to 2 GB. Words are those of our rules and not pieces of BPE.
    """
    counts: dict[str, int] = {}
    all_gone: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for number in range(1, passes + 1):
        step = f"repeated_passages.{number}"
        cut, gone = _one_pass(parts, step, words, keep_first, least_words)
        counts[f"words cut in pass {number}"] = cut
        all_gone.append(gone)
        parts.alive[gone] = False
        if not cut:
            break
    gone = np.concatenate(all_gone)
    reason = "nothing but passages that stand elsewhere too" if not least_words else "too little left beside passages"
    return Outcome([Dropped(gone, reason)], counts)


def _one_pass(parts: Parts, step: str, words: int, keep_first: bool, least_words: int) -> tuple[int, NDArray[np.int64]]:
    """How many words were cut, and the documents that have nothing left."""
    counts = parts.map(partial(_windows, words=words), step)
    folder, names = parts.folder / step, [f"{number:05}" for number in range(len(counts))]
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    np.save(folder / "starts.npy", starts)
    jobs = [(folder, names, span, starts) for span in ranges(int(starts[-1]))]
    found = list(parts.reduce(_repeated, jobs))
    np.save(folder / "repeated.npy", np.concatenate([*(keys for keys, _ in found), np.empty(0, np.uint64)]))
    np.save(folder / "first.npy", np.concatenate([*(first for _, first in found), np.empty(0, np.int64)]))
    kernel = partial(_cut, words=words, keep_first=keep_first, least_words=least_words)
    empty, found = parts.rewrite(kernel, step)
    return sum(cut for cut, _ in found), np.unique(np.concatenate([empty, *(short for _, short in found)]))


def _windows(job: Job, *, words: int) -> int:
    """Writes the hash of every run of `words` words, and its number in the part beside it."""
    pieces = [np.empty(0, np.uint64)]
    for _, texts in alive_texts(job):
        with Result("herd_window_keys", pack(texts), ctypes.c_int32(words)) as made:
            pieces.append(made.keys()[0])
    keys = np.concatenate(pieces)
    write_run(job.folder, job.name, keys, np.arange(len(keys), dtype=np.int64))
    return len(keys)


def _repeated(
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


def _cut(job: Job, *, words: int, keep_first: bool, least_words: int) -> tuple[Changed, tuple[int, Rows]]:
    """The part without what stands elsewhere too; how many words went, and documents with too few left."""
    keys, first = np.load(job.folder / "repeated.npy"), np.load(job.folder / "first.npy")
    start = int(np.load(job.folder / "starts.npy")[job.number])
    cut, short = 0, [np.empty(0, np.int64)]

    def change(rows: Rows, texts: arrow.Array) -> arrow.Array:
        nonlocal start, cut
        packed = pack(texts)
        done = np.zeros(packed.count, np.int32)
        arguments = (
            ctypes.c_int32(words),
            pointer(keys),
            pointer(first) if keep_first else None,
            ctypes.c_int64(len(keys)),
            ctypes.c_int64(start),
            pointer(done),
        )
        with Result("herd_cut_repeats", packed, *arguments) as made:
            new = made.texts()
        with Result("herd_window_keys", packed, ctypes.c_int32(words)) as made:
            start += len(made.keys()[0])
        if least_words:
            left = count_words(new)
            short.append(rows[(done > 0) & (left < least_words)])
        cut += int(done.sum())
        return new

    return rewrite(job, change), (cut, np.concatenate(short))
