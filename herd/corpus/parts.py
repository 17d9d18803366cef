"""Documents between the steps of curation: a file a shard, of which rows are dropped as steps go by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from herd.core.executor import Place
from herd.corpus.kernels import pack
from herd.corpus.results import Count, Sample

if TYPE_CHECKING:
    import pyarrow as arrow

R = TypeVar("R")
Rows = NDArray[np.int64]  # numbers of documents


@dataclass(frozen=True)
class Job:
    """One part as a worker is given it. first: the number of its first row among all rows of all parts.
    alive: rows no step has dropped, as packed bits."""

    number: int
    file: Path
    rows: int
    first: int
    alive: bytes
    folder: Path

    def mask(self) -> NDArray[np.bool_]:
        return np.unpackbits(np.frombuffer(self.alive, np.uint8), count=self.rows).astype(np.bool_)

    @property
    def name(self) -> str:
        return f"{self.number:05}"

    def batches(self, *columns: str) -> Iterator[tuple[int, arrow.RecordBatch]]:
        """The part batch by batch, each with the number of its first row in the part."""
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


class Writer:
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
class Dropped:
    """What a step over all documents drops. rows: numbers of documents; reason: why, in words; kept: for each the
    number of the document that says the same and stays, whose id stands for {kept} in the reason, if one does."""

    rows: Rows
    reason: str
    kept: Rows | None = None


@dataclass
class Outcome:
    """What a step over all documents did. counts: numbers and histograms by name; samples: what is worth a look, such
    as the largest clusters: both for the report."""

    dropped: list[Dropped] = field(default_factory=list)
    counts: Mapping[str, Count] = field(default_factory=dict)
    samples: Sequence[Sample] = ()


@dataclass(frozen=True)
class Changed:
    """A part whose texts a step changed. empty: the documents of which nothing is left."""

    part: int
    file: Path
    empty: Rows


class Parts:
    """All documents that are left, in their order; steps map over them and drop some.

    Documents have numbers: their place among all rows of all parts, which no step changes.
    """

    def __init__(self, place: Place, folder: Path, files: list[Path], rows: list[int]) -> None:
        self._place, self.folder = place, folder
        self._files, self._rows = files, rows
        self.starts = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        self.alive = np.ones(int(self.starts[-1]), np.bool_)
        self.drops: list[tuple[str, Dropped]] = []

    @property
    def total(self) -> int:
        """Rows, dropped ones too."""
        return len(self.alive)

    def jobs(self, folder: Path) -> list[Job]:
        folder.mkdir(parents=True, exist_ok=True)
        jobs = []
        for number, (file, rows) in enumerate(zip(self._files, self._rows, strict=True)):
            first = int(self.starts[number])
            alive = np.packbits(self.alive[first : first + rows]).tobytes()
            jobs.append(Job(number, file, rows, first, alive, folder))
        return jobs

    def map(self, kernel: Callable[[Job], R], step: str) -> list[R]:
        """`kernel` of every part, in their order; what it writes goes to a folder of the step's own."""
        return list(self._place.map(kernel, self.jobs(self.folder / step)))

    def reduce(self, kernel: Callable[[Any], R], jobs: list[Any]) -> Iterator[R]:
        return self._place.map(kernel, jobs)

    def drop(self, step: str, dropped: Dropped) -> None:
        self.alive[dropped.rows] = False
        self.drops.append((step, dropped))

    def rewrite(self, kernel: Callable[[Job], tuple[Changed, R]], step: str) -> tuple[Rows, list[R]]:
        """Every part with its texts changed; returns the documents of which nothing is left, and what else the
        kernel returned of each part."""
        results = self.map(kernel, step)
        return self.replace([changed for changed, _ in results]), [other for _, other in results]

    def replace(self, changed: Sequence[Changed]) -> Rows:
        """From now on the parts' texts are these; returns the documents of which nothing is left."""
        for one in changed:
            self._files[one.part] = one.file
        return np.concatenate([np.empty(0, np.int64), *(one.empty for one in changed)])

    def values(self, column: str, rows: Rows) -> dict[int, str]:
        """What stands in a column of these documents, by their numbers."""
        found: dict[int, str] = {}
        wanted = np.unique(rows)
        for job in self.jobs(self.folder):
            own = wanted[(wanted >= job.first) & (wanted < job.first + job.rows)] - job.first
            if not len(own):
                continue
            for start, batch in job.batches(column):
                inside = own[(own >= start) & (own < start + batch.num_rows)] - start
                for row in inside.tolist():
                    found[job.first + start + row] = batch.column(column)[row].as_py()
        return found


def alive_texts(job: Job, column: str = "text") -> Iterator[tuple[Rows, arrow.Array]]:
    """Of each batch of a part the numbers of the documents that are left, and their texts."""
    import pyarrow as arrow

    mask = job.mask()
    for start, batch in job.batches(column):
        rows = np.flatnonzero(mask[start : start + batch.num_rows])
        if len(rows):
            texts = batch.column(column)
            yield job.first + start + rows, texts if len(rows) == len(texts) else texts.take(arrow.array(rows))


def rewrite(job: Job, change: Callable[[Rows, arrow.Array], arrow.Array]) -> Changed:
    """The part with the texts of the documents that are left changed. change: given their numbers and texts."""
    import pyarrow as arrow

    mask = job.mask()
    empty = [np.empty(0, np.int64)]
    writer = Writer(job.folder / f"{job.name}.arrow")
    for start, batch in job.batches():
        own = mask[start : start + batch.num_rows]
        if own.any():
            rows, old = job.first + start + np.flatnonzero(own), batch.column("text")
            new = change(rows, old.filter(arrow.array(own)))
            empty.append(rows[pack(new).lengths == 0])
            order = np.arange(len(own))
            order[own] = len(own) + np.arange(len(new))
            text = arrow.chunked_array([old, new]).combine_chunks().take(arrow.array(order))
            batch = batch.set_column(batch.schema.get_field_index("text"), "text", text)
        writer.write(batch)
    writer.close()
    return Changed(job.number, job.folder / f"{job.name}.arrow", np.concatenate(empty))
