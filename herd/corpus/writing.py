"""What curation leaves behind: Parquet files of the documents kept, and of all that were dropped, with reasons."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from herd.corpus.parts import Job, read_table
from herd.corpus.tally import Tally

if TYPE_CHECKING:
    import pyarrow as arrow

REJECTED = ["id", "source", "url", "added", "language", "text", "step", "reason"]
COLUMNS = ("id", "text", "source", "url", "added", "language", "notes")


@dataclass(frozen=True)
class Last:
    """A part's last job. lost: for each step over all documents the rows of this part that it dropped, and why.
    rejects, stats: files that preparing the shard left, there or not."""

    job: Job
    lost: list[tuple[str, NDArray[np.int64], list[str]]]
    rejects: Path
    stats: Path
    out: Path


@dataclass
class Counted(Tally):
    """What stands in the files written. sources: documents and characters by source. What was dropped: by steps
    over all documents."""

    documents: int = 0
    rejects: int = 0
    characters: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    sources: dict[str, list[int]] = field(default_factory=dict)

    def add(self, other: Counted) -> None:
        self.add_drops(other)
        self.documents += other.documents
        self.rejects += other.rejects
        self.characters += other.characters
        self.languages.update(other.languages)
        for source, (documents, characters) in other.sources.items():
            held = self.sources.setdefault(source, [0, 0])
            held[0], held[1] = held[0] + documents, held[1] + characters


def finish(last: Last) -> Counted:
    """Writes one part's documents, rejects and statistics."""
    counted = Counted()
    name = f"{last.job.name}.parquet"
    late: list[arrow.RecordBatch] = []
    _write(last.out / "documents" / name, _documents(last, late, counted))
    _write(last.out / "rejects" / name, _rejects(itertools.chain(read_table(last.rejects), late), counted))
    _write(last.out / "stats" / name, read_table(last.stats))
    return counted


def _documents(last: Last, late: list[arrow.RecordBatch], counted: Counted) -> Iterator[arrow.RecordBatch]:
    """What is left, batch by batch; what steps over all documents dropped is put into `late`."""
    import pyarrow as arrow

    reasons = {int(row): (step, why) for step, rows, whys in last.lost for row, why in zip(rows, whys, strict=True)}
    mask = last.job.mask()
    for start, batch in last.job.batches():
        own = mask[start : start + batch.num_rows]
        if not own.all():
            lost = batch.filter(arrow.array(~own))
            steps, whys = zip(*(reasons[start + row] for row in np.flatnonzero(~own).tolist()), strict=True)
            lost = lost.append_column("step", arrow.array(steps, arrow.string()))
            late.append(lost.append_column("reason", arrow.array(whys, arrow.string())).select(REJECTED))
            counted.drop(late[-1])
        kept = batch.filter(arrow.array(own))
        if kept.num_rows:
            _count(kept, counted)
            titles = kept.column("title").to_pylist()
            notes = _notes({"title": title} if title else {} for title in titles)
            yield kept.append_column("notes", notes).select([*COLUMNS, "stats"])


def _count(kept: arrow.RecordBatch, counted: Counted) -> None:
    import pyarrow.compute as compute

    lengths = compute.call_function("utf8_length", [kept.column("text")]).to_numpy(zero_copy_only=False)
    counted.documents += kept.num_rows
    counted.characters += int(lengths.sum())
    counted.languages.update(kept.column("language").to_pylist())
    for source, length in zip(kept.column("source").to_pylist(), lengths.tolist(), strict=True):
        held = counted.sources.setdefault(source, [0, 0])
        held[0], held[1] = held[0] + 1, held[1] + length


def _rejects(batches: Iterable[arrow.RecordBatch], counted: Counted) -> Iterator[arrow.RecordBatch]:
    for batch in batches:
        steps, whys = batch.column("step").to_pylist(), batch.column("reason").to_pylist()
        counted.rejects += batch.num_rows
        notes = _notes({"step": step, "reason": why} for step, why in zip(steps, whys, strict=True))
        yield batch.append_column("notes", notes).select([*COLUMNS, "step", "reason"])


def _notes(rows: Iterable[dict[str, str]]) -> arrow.Array:
    import pyarrow as arrow

    return arrow.array([json.dumps(row, ensure_ascii=False) for row in rows], arrow.string())


def _write(file: Path, batches: Iterator[arrow.RecordBatch]) -> None:
    import pyarrow.parquet as parquet

    writer: Any = None
    for batch in batches:
        if writer is None:
            writer = parquet.ParquetWriter(file, batch.schema, compression="zstd")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()
