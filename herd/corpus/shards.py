"""Documents between the steps of curation: a file a shard, of which rows are dropped as steps go by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from herd.core.executor import Executor
from herd.corpus.kernels import pack_texts
from herd.corpus.results import Count, DedupSample

if TYPE_CHECKING:
    import pyarrow as arrow

KernelResultT = TypeVar("KernelResultT")
RowNumbers = NDArray[np.int64]  # numbers of documents


@dataclass(frozen=True)
class DocumentShard:
    """One shard as a worker is given it. first_row: the number of its first row among all rows of all shards.
    alive: rows no step has dropped, as packed bits."""

    number: int
    file: Path
    rows: int
    first_row: int
    alive: bytes
    folder: Path

    def mask(self) -> NDArray[np.bool_]:
        return np.unpackbits(np.frombuffer(self.alive, np.uint8), count=self.rows).astype(np.bool_)

    @property
    def name(self) -> str:
        return f"{self.number:05}"

    def batches(self, *columns: str) -> Iterator[tuple[int, arrow.RecordBatch]]:
        """The shard batch by batch, each with the number of its first row in the shard."""
        start = 0
        for batch in read_table(self.file):
            yield start, batch.select(list(columns)) if columns else batch
            start += batch.num_rows


def read_table(file: Path) -> Iterator[arrow.RecordBatch]:
    """The batches of a file; none when nothing was written to it."""
    import pyarrow as arrow

    if not file.exists():
        return
    with arrow.OSFile(str(file), "rb") as source, arrow.ipc.open_stream(source) as batches:
        yield from batches


class BatchWriter:
    """Record batches as a file that is there in whole or not at all."""

    def __init__(self, file: Path) -> None:
        self._file, self._partial = file, file.with_name(file.name + ".partial")
        self._stream: Any = None
        self.rows = 0

    def write(self, batch: arrow.RecordBatch) -> None:
        import pyarrow as arrow

        if self._stream is None:
            options = arrow.ipc.IpcWriteOptions(compression="lz4")
            self._stream = arrow.ipc.new_stream(str(self._partial), batch.schema, options=options)
        self._stream.write_batch(batch)
        self.rows += batch.num_rows

    def close(self) -> bool:
        """Whether anything was written."""
        if self._stream is None:
            return False
        self._stream.close()
        self._partial.rename(self._file)
        return True


@dataclass
class Removal:
    """What a step over all documents drops. rows: numbers of documents; reason: why, in words; survivors: for each the
    number of the document that says the same and stays, whose id stands for {kept} in the reason, if one does."""

    rows: RowNumbers
    reason: str
    survivors: RowNumbers | None = None


@dataclass
class DedupResult:
    """What a step over all documents did. counts: numbers and histograms by name; samples: what is worth a look, such
    as the largest clusters: both for the report."""

    removals: list[Removal] = field(default_factory=list)
    counts: Mapping[str, Count] = field(default_factory=dict)
    samples: Sequence[DedupSample] = ()


@dataclass(frozen=True)
class RewrittenShard:
    """A shard whose texts a step changed. empty: the documents of which nothing is left."""

    number: int
    file: Path
    empty: RowNumbers


class DocumentShards:
    """All documents that are left, in their order; steps map over them and drop some.

    Documents have numbers: their place among all rows of all shards, which no step changes.
    """

    def __init__(self, executor: Executor, folder: Path, files: list[Path], rows: list[int]) -> None:
        self._executor, self.folder = executor, folder
        self._files, self._rows = files, rows
        self.starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self.alive = np.ones(int(self.starts[-1]), np.bool_)
        self.removals: list[tuple[str, Removal]] = []

    @property
    def total(self) -> int:
        """Rows, dropped ones too."""
        return len(self.alive)

    def snapshot(self, folder: Path) -> list[DocumentShard]:
        folder.mkdir(parents=True, exist_ok=True)
        shards = []
        for number, (file, rows) in enumerate(zip(self._files, self._rows, strict=True)):
            first = int(self.starts[number])
            alive = np.packbits(self.alive[first : first + rows]).tobytes()
            shards.append(DocumentShard(number, file, rows, first, alive, folder))
        return shards

    def map(self, kernel: Callable[[DocumentShard], KernelResultT], step: str) -> list[KernelResultT]:
        """`kernel` of every shard, in their order; what it writes goes to a folder of the step's own."""
        return list(self._executor.map(kernel, self.snapshot(self.folder / step)))

    def reduce(self, kernel: Callable[[Any], KernelResultT], jobs: list[Any]) -> Iterator[KernelResultT]:
        return self._executor.map(kernel, jobs)

    def drop(self, step: str, removal: Removal) -> None:
        self.alive[removal.rows] = False
        self.removals.append((step, removal))

    def rewrite(
        self, kernel: Callable[[DocumentShard], tuple[RewrittenShard, KernelResultT]], step: str
    ) -> tuple[RowNumbers, list[KernelResultT]]:
        """Every shard with its texts changed; returns the documents of which nothing is left, and what else the
        kernel returned of each."""
        results = self.map(kernel, step)
        return self.replace([shard for shard, _ in results]), [extra for _, extra in results]

    def replace(self, shards: Sequence[RewrittenShard]) -> RowNumbers:
        """From now on the shards' texts are these; returns the documents of which nothing is left."""
        for shard in shards:
            self._files[shard.number] = shard.file
        return np.concatenate([np.empty(0, np.int64), *(shard.empty for shard in shards)])

    def values(self, column: str, rows: RowNumbers) -> dict[int, str]:
        """What stands in a column of these documents, by their numbers."""
        by_row: dict[int, str] = {}
        row_numbers = np.unique(rows)
        for shard in self.snapshot(self.folder):
            in_shard = (
                row_numbers[(row_numbers >= shard.first_row) & (row_numbers < shard.first_row + shard.rows)]
                - shard.first_row
            )
            if not len(in_shard):
                continue
            for start, batch in shard.batches(column):
                inside = in_shard[(in_shard >= start) & (in_shard < start + batch.num_rows)] - start
                for row in inside.tolist():
                    by_row[shard.first_row + start + row] = batch.column(column)[row].as_py()
        return by_row


def alive_texts(shard: DocumentShard, column: str = "text") -> Iterator[tuple[RowNumbers, arrow.Array]]:
    """Of each batch of a shard the numbers of the documents that are left, and their texts."""
    import pyarrow as arrow

    mask = shard.mask()
    for start, batch in shard.batches(column):
        rows = np.flatnonzero(mask[start : start + batch.num_rows])
        if len(rows):
            texts = batch.column(column)
            yield shard.first_row + start + rows, texts if len(rows) == len(texts) else texts.take(arrow.array(rows))


def rewrite_shard(shard: DocumentShard, change: Callable[[RowNumbers, arrow.Array], arrow.Array]) -> RewrittenShard:
    """The shard with the texts of the documents that are left changed. change: given their numbers and texts."""
    import pyarrow as arrow

    mask = shard.mask()
    empty = [np.empty(0, np.int64)]
    writer = BatchWriter(shard.folder / f"{shard.name}.arrow")
    for start, batch in shard.batches():
        alive = mask[start : start + batch.num_rows]
        if alive.any():
            rows, old = shard.first_row + start + np.flatnonzero(alive), batch.column("text")
            new = change(rows, old.filter(arrow.array(alive)))
            empty.append(rows[pack_texts(new).lengths == 0])
            order = np.arange(len(alive))
            order[alive] = len(alive) + np.arange(len(new))
            text = arrow.chunked_array([old, new]).combine_chunks().take(arrow.array(order))
            batch = batch.set_column(batch.schema.get_field_index("text"), "text", text)
        writer.write(batch)
    writer.close()
    return RewrittenShard(shard.number, shard.folder / f"{shard.name}.arrow", np.concatenate(empty))
