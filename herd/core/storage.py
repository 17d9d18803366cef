"""Reading and writing records: documents as Parquet, conversations and preferences as JSON lines."""

from __future__ import annotations

import gzip
import json
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError, DataError
from herd.core.manifests import check_files
from herd.core.records import Conversation, Document, Preference

ROWS_PER_FILE = 100_000
PART_BYTES = 32_000_000  # of documents that one worker takes at once
# A small corpus is cut into so many parts, if they are no smaller than what it costs to begin one.
_MIN_PARTS, _MIN_PART_BYTES = 8, 1_000_000
_BATCH_BYTES, _BATCH_ROWS = 8_000_000, 4096  # of documents in memory while a part is read
_GROUP_ROWS = 8192  # what of a large file can be read apart
_COLUMNS = ("id", "text", "source", "url", "added", "language")


def read_documents(folder: Path, name: str = "documents") -> Iterator[Document]:
    """The documents of a corpus, file by file, a few in memory at once.

    Raises ArtifactError when there are none to read, but for rejects, of which there may be none.
    """
    for part in document_parts(folder, name):
        yield from part.read()


@dataclass(frozen=True)
class DocumentPart:
    """Some row groups of one Parquet file of a corpus: what one worker reads. documents: how many they hold.
    text_bytes: of all columns, before compression."""

    file: Path
    groups: tuple[int, ...]
    documents: int
    text_bytes: int

    def read(self) -> Iterator[Document]:
        """Its documents in order, about `_BATCH_BYTES` of them in memory at once."""
        import pyarrow.parquet as parquet

        rows = min(_BATCH_ROWS, max(1, _BATCH_BYTES * self.documents // max(1, self.text_bytes)))
        # Buffered, a column is decoded page by page as it is read, and not loaded whole.
        with parquet.ParquetFile(self.file, buffer_size=1 << 20) as table:
            for batch in table.iter_batches(rows, row_groups=list(self.groups), columns=[*_COLUMNS, "notes"]):
                for row in batch.to_pylist():
                    yield document_from_row(row)


def document_parts(folder: Path, name: str = "documents", part_bytes: int | None = None) -> list[DocumentPart]:
    """A corpus cut into parts, in order: files, and of large ones their row groups, of about `part_bytes` each. Absent,
    as large as one worker takes, and smaller where a corpus would make so few that others have nothing to do.

    The cut follows from the files alone. Raises ArtifactError as `read_documents`.
    """
    import pyarrow.parquet as parquet

    check_files(folder, f"{name}/*.parquet")
    files = sorted((folder / name).glob("*.parquet"))
    if not files and not (name == "rejects" and (folder / name).is_dir()):
        raise ArtifactError(f"{folder / name} holds no Parquet files; it is not a corpus made by herd")
    groups = {file: _row_groups(parquet.read_metadata(file)) for file in files}
    if part_bytes is None:
        total_bytes = sum(size for sizes in groups.values() for _, size in sizes)
        part_bytes = min(PART_BYTES, max(_MIN_PART_BYTES, total_bytes // _MIN_PARTS))
    return [part for file in files for part in _parts_of(file, groups[file], part_bytes)]


_RowGroups = list[tuple[int, int]]  # of each its rows and bytes


def _row_groups(metadata: Any) -> _RowGroups:
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    return [(group.num_rows, group.total_byte_size) for group in groups]


def _parts_of(file: Path, row_groups: _RowGroups, part_bytes: int) -> Iterator[DocumentPart]:
    groups: list[int] = []
    rows = size = 0
    for number, (group_rows, group_bytes) in enumerate(row_groups):
        if groups and size + group_bytes > part_bytes:
            yield DocumentPart(file, tuple(groups), rows, size)
            groups, rows, size = [], 0, 0
        groups.append(number)
        rows, size = rows + group_rows, size + group_bytes
    yield DocumentPart(file, tuple(groups), rows, size)


def document_from_row(row: dict[str, Any]) -> Document:
    notes = json.loads(row["notes"]) if row.get("notes") else {}
    return Document(**{column: row[column] for column in _COLUMNS}, notes=notes)


def write_documents(folder: Path, documents: Iterable[Document], name: str = "documents") -> int:
    """Writes `documents/00000.parquet` and so on; returns how many documents. At least one file is made."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    schema = arrow.schema([(column, arrow.string()) for column in (*_COLUMNS, "notes")])
    (folder / name).mkdir()
    count = 0
    for number, rows in enumerate(_files(documents)):
        columns = {column: list(map(operator.attrgetter(column), rows)) for column in _COLUMNS}
        columns["notes"] = [json.dumps(dict(document.notes), ensure_ascii=False) for document in rows]
        table = arrow.table(columns, schema=schema)
        parquet.write_table(
            table, folder / name / f"{number:05}.parquet", row_group_size=_GROUP_ROWS, compression="zstd"
        )
        count += len(rows)
    return count


def _files(documents: Iterable[Document]) -> Iterator[list[Document]]:
    rows: list[Document] = []
    for document in documents:
        rows.append(document)
        if len(rows) == ROWS_PER_FILE:
            yield rows
            rows = []
    yield rows


def read_conversations(folder: Path) -> Iterator[Conversation]:
    """The conversations of a Dialogues artifact."""
    check_files(folder, "dialogues.jsonl")
    yield from map(Conversation.from_row, read_lines(folder / "dialogues.jsonl"))


def write_conversations(folder: Path, conversations: Iterable[Conversation]) -> int:
    return write_lines(folder / "dialogues.jsonl", (conversation.to_row() for conversation in conversations))


def read_preferences(folder: Path) -> Iterator[Preference]:
    """The ranked answers of a Preferences artifact."""
    check_files(folder, "preferences.jsonl")
    yield from map(Preference.from_row, read_lines(folder / "preferences.jsonl"))


def write_preferences(folder: Path, preferences: Iterable[Preference]) -> int:
    return write_lines(folder / "preferences.jsonl", (preference.to_row() for preference in preferences))


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file, packed by gzip or not. Raises DataError with file and line where one is
    broken."""
    with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield json.loads(line)
            except ValueError:
                raise DataError(f"{file}, line {number}: not JSON; mend or remove the line") from None


def write_lines(file: Path, rows: Iterable[dict[str, Any]]) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
