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

from herd.corpus.shards import DocumentShard, read_table
from herd.corpus.tally import Tally

if TYPE_CHECKING:
    import pyarrow as arrow

REJECT_COLUMNS = ["id", "source", "url", "added", "language", "text", "notes", "step", "reason"]
DOCUMENT_COLUMNS = ("id", "text", "source", "url", "added", "language", "notes")


@dataclass(frozen=True)
class WriteTask:
    """A shard's last job. removals: for each step over all documents the rows of this shard that it dropped, and why.
    rejects, stats: files that preparing the shard left, there or not."""

    shard: DocumentShard
    removals: list[tuple[str, NDArray[np.int64], list[str]]]
    rejects: Path
    stats: Path
    out: Path


@dataclass
class WriteCounts(Tally):
    """What stands in the files written. sources: documents and characters by source. What was dropped: by steps
    over all documents."""

    documents: int = 0
    rejects: int = 0
    characters: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    sources: dict[str, list[int]] = field(default_factory=dict)

    def add(self, counts: WriteCounts) -> None:
        self.add_drops(counts)
        self.documents += counts.documents
        self.rejects += counts.rejects
        self.characters += counts.characters
        self.languages.update(counts.languages)
        for source, (documents, characters) in counts.sources.items():
            source_counts = self.sources.setdefault(source, [0, 0])
            source_counts[0], source_counts[1] = source_counts[0] + documents, source_counts[1] + characters


def write_shard(task: WriteTask) -> WriteCounts:
    """Writes one shard's documents, rejects and statistics."""
    counts = WriteCounts()
    name = f"{task.shard.name}.parquet"
    late: list[arrow.RecordBatch] = []
    _write(task.out / "documents" / name, _documents(task, late, counts))
    _write(task.out / "rejects" / name, _rejects(itertools.chain(read_table(task.rejects), late), counts))
    _write(task.out / "stats" / name, read_table(task.stats))
    return counts


def _documents(task: WriteTask, late: list[arrow.RecordBatch], counts: WriteCounts) -> Iterator[arrow.RecordBatch]:
    """What is left, batch by batch; what steps over all documents dropped is put into `late`."""
    import pyarrow as arrow

    reasons: dict[int, tuple[str, str]] = {}
    for step, rows, reason_texts in task.removals:
        for row, reason in zip(rows.tolist(), reason_texts, strict=True):
            reasons[row] = step, reason
    mask = task.shard.mask()
    for start, batch in task.shard.batches():
        alive = mask[start : start + batch.num_rows]
        if not alive.all():
            dropped_rows = batch.filter(arrow.array(~alive))
            steps, reason_texts = zip(*(reasons[start + row] for row in np.flatnonzero(~alive).tolist()), strict=True)
            dropped_rows = dropped_rows.append_column("step", arrow.array(steps, arrow.string()))
            late.append(
                dropped_rows.append_column("reason", arrow.array(reason_texts, arrow.string())).select(REJECT_COLUMNS)
            )
            counts.drop(late[-1])
        kept_rows = batch.filter(arrow.array(alive))
        if kept_rows.num_rows:
            _count(kept_rows, counts)
            titles = kept_rows.column("title").to_pylist()
            yield _with_notes_of(kept_rows, ({"title": title} if title else {} for title in titles)).select(
                [*DOCUMENT_COLUMNS, "stats"]
            )


def _count(documents: arrow.RecordBatch, counts: WriteCounts) -> None:
    import pyarrow.compute as compute

    lengths = compute.call_function("utf8_length", [documents.column("text")]).to_numpy(zero_copy_only=False)
    counts.documents += documents.num_rows
    counts.characters += int(lengths.sum())
    counts.languages.update(documents.column("language").to_pylist())
    for source, length in zip(documents.column("source").to_pylist(), lengths.tolist(), strict=True):
        source_counts = counts.sources.setdefault(source, [0, 0])
        source_counts[0], source_counts[1] = source_counts[0] + 1, source_counts[1] + length


def _rejects(batches: Iterable[arrow.RecordBatch], counts: WriteCounts) -> Iterator[arrow.RecordBatch]:
    for batch in batches:
        steps, reasons = batch.column("step").to_pylist(), batch.column("reason").to_pylist()
        counts.rejects += batch.num_rows
        reject_notes = ({"step": step, "reason": reason} for step, reason in zip(steps, reasons, strict=True))
        yield _with_notes_of(batch, reject_notes).select([*DOCUMENT_COLUMNS, "step", "reason"])


def _with_notes_of(batch: arrow.RecordBatch, rows: Iterable[dict[str, str]]) -> arrow.RecordBatch:
    """The batch with what each of `rows` says added to the notes; it goes before what stands there."""
    import pyarrow as arrow

    merged = [
        json.dumps({**json.loads(notes), **row} if notes else row, ensure_ascii=False)
        for notes, row in zip(batch.column("notes").to_pylist(), rows, strict=True)
    ]
    # JSON may spell a half of a surrogate pair, which cannot be written.
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in merged]
    return batch.set_column(batch.schema.get_field_index("notes"), "notes", arrow.array(texts, arrow.string()))


def _write(file: Path, batches: Iterator[arrow.RecordBatch]) -> None:
    import pyarrow.parquet as parquet

    writer: Any = None
    for batch in batches:
        if writer is None:
            writer = parquet.ParquetWriter(file, batch.schema, compression="zstd")
        writer.write_batch(batch)
    if writer is not None:
        writer.close()
