"""What curation leaves behind: Parquet files of the documents kept, and of all that were dropped, with reasons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from herd.corpus.parts import Job, read_table

if TYPE_CHECKING:
    import pyarrow as arrow

COLUMNS = ("id", "text", "source", "url", "added", "language", "notes")
EXAMPLES, EXAMPLE_CHARACTERS = 3, 300


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
class Counted:
    """What stands in the files written. sources: documents and characters by source."""

    documents: int = 0
    rejects: int = 0
    characters: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    sources: dict[str, list[int]] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def add(self, other: Counted) -> None:
        self.documents += other.documents
        self.rejects += other.rejects
        self.characters += other.characters
        self.languages.update(other.languages)
        self.dropped.update(other.dropped)
        for source, (documents, characters) in other.sources.items():
            held = self.sources.setdefault(source, [0, 0])
            held[0], held[1] = held[0] + documents, held[1] + characters
        for step, shown in other.examples.items():
            mine = self.examples.setdefault(step, [])
            mine += shown[: EXAMPLES - len(mine)]


def finish(last: Last) -> Counted:
    """Writes one part's documents, rejects and statistics."""
    counted = Counted()
    name = f"{last.job.name}.parquet"
    reasons = {int(row): (step, why) for step, rows, whys in last.lost for row, why in zip(rows, whys, strict=True)}
    late: list[arrow.RecordBatch] = []
    _write(last.out / "documents" / name, _documents(last.job, reasons, late, counted))
    rejects = (read_table(last.rejects) if last.rejects.exists() else iter(()), late)
    _write(last.out / "rejects" / name, _rejects(rejects, counted))
    if last.stats.exists():
        _write(last.out / "stats" / name, read_table(last.stats))
    return counted


def _documents(
    job: Job, reasons: dict[int, tuple[str, str]], late: list[arrow.RecordBatch], counted: Counted
) -> Iterator[arrow.RecordBatch]:
    import pyarrow as arrow
    import pyarrow.compute as compute

    mask = job.mask()
    for start, batch in job.batches():
        own = mask[start : start + batch.num_rows]
        if not own.all():
            gone = np.flatnonzero(~own)
            lost = batch.filter(arrow.array(~own)).drop_columns(["title", "language", "stats"])
            steps, whys = zip(*(reasons[start + row] for row in gone.tolist()), strict=True)
            lost = lost.append_column("step", arrow.array(steps, arrow.string()))
            late.append(lost.append_column("reason", arrow.array(whys, arrow.string())))
        kept = batch.filter(arrow.array(own))
        if not kept.num_rows:
            continue
        lengths = compute.call_function("utf8_length", [kept.column("text")]).to_numpy(zero_copy_only=False)
        counted.documents += kept.num_rows
        counted.characters += int(lengths.sum())
        counted.languages.update(kept.column("language").to_pylist())
        for source, length in zip(kept.column("source").to_pylist(), lengths.tolist(), strict=True):
            held = counted.sources.setdefault(source, [0, 0])
            held[0], held[1] = held[0] + 1, held[1] + length
        notes = [
            json.dumps({"title": one}, ensure_ascii=False) if one else "{}" for one in kept.column("title").to_pylist()
        ]
        kept = kept.append_column("notes", arrow.array(notes, arrow.string()))
        yield kept.select([*COLUMNS, "stats"])


def _rejects(
    tables: tuple[Iterator[arrow.RecordBatch], list[arrow.RecordBatch]], counted: Counted
) -> Iterator[arrow.RecordBatch]:
    import pyarrow as arrow

    for number, table in enumerate(tables):
        for batch in table:
            steps, whys = batch.column("step").to_pylist(), batch.column("reason").to_pylist()
            counted.rejects += batch.num_rows
            if number:  # what a shard drops on its own is counted there
                counted.dropped.update(steps)
                _show(batch, steps, whys, counted)
            notes = [
                json.dumps({"step": step, "reason": why}, ensure_ascii=False)
                for step, why in zip(steps, whys, strict=True)
            ]
            empty = arrow.array([""] * batch.num_rows, arrow.string())
            batch = batch.append_column("notes", arrow.array(notes, arrow.string())).append_column("language", empty)
            yield batch.select([*COLUMNS, "step", "reason"])


def _show(batch: arrow.RecordBatch, steps: list[str], whys: list[str], counted: Counted) -> None:
    for row, (step, why) in enumerate(zip(steps, whys, strict=True)):
        shown = counted.examples.setdefault(step, [])
        if len(shown) < EXAMPLES:
            text = batch.column("text")[row].as_py()[:EXAMPLE_CHARACTERS]
            shown.append({"id": batch.column("id")[row].as_py(), "reason": why, "text": text})


def _write(file: Path, batches: Iterator[arrow.RecordBatch]) -> None:
    import pyarrow.parquet as parquet

    writer: Any = None
    for batch in batches:
        if writer is None:
            writer = parquet.ParquetWriter(file, batch.schema, compression="zstd")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()
