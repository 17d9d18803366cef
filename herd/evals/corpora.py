"""The texts of a corpus, one after another: an artifact of ours, files of rows, or plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from herd.core.artifacts import METADATA_FILE
from herd.core.errors import DataError
from herd.core.rowfiles import RowError, iter_rows, row_files

_TEXT_SUFFIXES = (".txt", ".md")
_BLOCK_CHARACTERS, _OVERLAP_CHARACTERS = 1 << 20, 2_000  # of plain text, so that no n-gram is lost between blocks


def iter_texts(place: Path, column: str = "text") -> Iterator[str]:
    """Every text of a corpus. place: a folder of Parquet, JSON lines or text, as an artifact of ours is, or one file.
    column: of rows.

    Raises DataError where nothing is found, and for rows without the column.
    """
    files = [place] if place.is_file() else sorted(file for file in place.rglob("*") if file.is_file())
    texts = [file for file in files if file.suffix in _TEXT_SUFFIXES]
    rows = [] if texts == [place] else _row_files(place)
    if not texts and not rows:
        raise DataError(f"{place} holds no corpus; name a folder of Parquet, JSON lines or .txt files")
    for file in texts:
        yield from _blocks(file)
    for name in rows:
        for number, row in iter_rows(name):
            if isinstance(row, RowError):
                continue  # what cannot be read is in no n-gram
            if not isinstance(row, Mapping) or column not in row:
                columns = ", ".join(map(str, row)) if isinstance(row, Mapping) else type(row).__name__
                raise DataError(
                    f"{name}, row {number} has no column {column!r}; it has {columns}: name it with --column"
                )
            if row[column]:
                yield str(row[column])


def _row_files(place: Path) -> list[str]:
    """The files of rows; beside Parquet, as an artifact of ours has it, what is JSON tells of it and holds no texts."""
    if place.is_file():
        return [str(place)]
    try:
        files = row_files(str(place))
    except DataError:
        return []
    tables = [file for file in files if file.endswith(".parquet")]
    return tables if (place / METADATA_FILE).exists() else files


def _blocks(file: Path) -> Iterator[str]:
    tail = ""
    with file.open(encoding="utf-8", errors="replace") as stream:
        while block := stream.read(_BLOCK_CHARACTERS):
            yield tail + block
            tail = block[-_OVERLAP_CHARACTERS:]
