"""The rows of a file of others, one at a time: JSON lines, JSON, CSV, TSV, Parquet or Arrow, packed or not.

A file is a path or any address fsspec knows; a folder, as of a data set on the Hub, holds several.

What a file says of itself bounds nothing here: a row has a most size and depth, what unpacks is read piece by piece,
and a row that cannot be read is reported as that, so that the next one is read.
"""

from __future__ import annotations

import csv
import glob
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from herd.core.addresses import files_at, is_address, open_source_file
from herd.core.arrow_streams import arrow_batches, check_batch
from herd.core.errors import DataError

MAX_ROW_BYTES = 64 << 20
MAX_FILE_BYTES = 1 << 30  # of a .json file, which is read as a whole
MAX_DEPTH = 100
_BATCH_BYTES = 256 << 20
_ARROW_ROWS = 16
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}


class RowError(DataError):
    """A row that is left out. reason: a word or two, to count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type[RowError], tuple[str, str]]:
        return type(self), (self.reason, str(self))  # Python would make it again from `args`, which has no reason


# What `datasets` writes beside the rows of a data set.
_DATASET_FILES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
ROW_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".csv", ".tsv")


def row_files(place: str, split: str = "") -> list[str]:
    """The files of rows that a path, folder, pattern or address names, in order. In a folder, what is no file of rows
    is passed over.

    split: of a folder only files, or files in folders, whose names begin so. Raises DataError when there is none.
    """
    if is_address(place):
        files = files_at(place) or [place]
        root = place.partition("*")[0].rstrip("/")
    elif os.path.isdir(place):
        root, files = place, [str(file) for file in sorted(Path(place).rglob("*")) if file.is_file()]
    else:
        root, files = "", [place] if os.path.exists(place) else sorted(glob.glob(place, recursive=True)) or [place]
    if files == [place]:
        return files
    names = {file: file.removeprefix(root).strip("/") for file in without_dataset_files(files) if _holds_rows(file)}
    chosen = [file for file, name in names.items() if any(part.startswith(split) for part in name.split("/"))]
    if not chosen:
        of_split = f" of split {split!r}" if split else ""
        raise DataError(f"{place} holds no file of rows{of_split}; herd reads {', '.join(ROW_SUFFIXES)}")
    return chosen


def without_dataset_files(files: Iterable[str]) -> list[str]:
    """The files without those that `datasets` writes beside its `.arrow` files, which hold no rows."""
    every = list(files)
    saved = any(file.endswith(".arrow") for file in every)
    return [file for file in every if not (saved and file.rpartition("/")[2] in _DATASET_FILES)]


def _holds_rows(file: str) -> bool:
    name = file.rpartition("/")[2].lower()
    compression = next((ending for ending in _COMPRESSIONS if name.endswith(ending)), "")
    return not name.startswith((".", "_")) and name.removesuffix(compression).endswith(ROW_SUFFIXES)


def iter_rows(file: Path | str, columns: Sequence[str] = ()) -> Iterator[tuple[int, Any]]:
    """(line, row) of every row of the file; a row that cannot be read is a RowError in its place.

    columns: of a CSV or TSV that has no header. Blank lines are passed over. Raises DataError, with the file's name,
    when the file itself cannot be read: it is not there, breaks off, or is no text.
    """
    name = str(file).rpartition("/")[2].lower()
    compression = next((ending for ending in _COMPRESSIONS if name.endswith(ending)), "")
    kind = Path(name.removesuffix(compression)).suffix
    number = 0
    try:
        for number, row in _of_kind(file, kind, compression, columns):
            yield number, row
    except EOFError:
        raise DataError(f"{file} breaks off after line {number}; fetch the file again") from None
    except OSError as fault:
        words = fault.strerror or f"{fault}"
        # What unpacks says of a torn file that it failed; what is not there has a number.
        if fault.errno is None:
            raise DataError(f"{file} is broken after line {number} ({words}); fetch the file again") from None
        raise DataError(f"{file} cannot be read: {words}; name a file of rows") from None


def _of_kind(file: Path | str, kind: str, compression: str, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    if kind == ".parquet":
        yield from _parquet(file)
        return
    with _open(file) as raw, _unpack(raw, compression) as stream:
        if kind == ".arrow":
            yield from _arrow(file, stream)
        elif kind == ".json":
            yield from _json_rows(file, stream)
        elif kind in _DELIMITERS:
            yield from _table(file, stream, _DELIMITERS[kind], columns)
        else:
            yield from _lines(file, stream)


def _open(file: Path | str) -> IO[bytes]:
    return open_source_file(file) if isinstance(file, str) and is_address(file) else Path(file).open("rb")


def _unpack(raw: IO[bytes], compression: str) -> IO[bytes]:
    """What a file says when unpacked. Those of the standard library leave `raw` open."""
    if compression == ".gz":
        import gzip

        return gzip.open(raw)  # type: ignore[return-value]
    if compression == ".bz2":
        import bz2

        return bz2.open(raw)
    if compression == ".xz":
        import lzma

        return lzma.open(raw)
    if compression == ".zst":
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(raw, compression="zstd"), 1 << 20)  # type: ignore[arg-type]
    return raw


def _lines(file: Path | str, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    number = 0
    while line := stream.readline(MAX_ROW_BYTES):
        number += 1
        if number == 1:
            line = _without_mark(file, line)
        if not line.endswith(b"\n") and len(line) >= MAX_ROW_BYTES:
            while (chunk := stream.readline(1 << 20)) and not chunk.endswith(b"\n"):
                pass
            yield number, RowError("too long", f"line {number} is longer than {MAX_ROW_BYTES >> 20} MB")
        elif line.strip():
            yield number, _read(line, f"line {number}")


def _json_rows(file: Path | str, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """A list of rows, one row, or lines of rows under the ending `.json`."""
    data = stream.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{file} is larger than {MAX_FILE_BYTES >> 30} GB; write it as JSON lines, a row a line")
    data = _without_mark(file, data)
    rows = _read(data, "the file")
    if isinstance(rows, RowError):
        # Many write lines under this ending; what is wrong with such a file is reported line by line.
        if b"\n" not in data.strip():
            raise DataError(f"{file}: {rows}; mend it")
        yield from _lines(file, io.BytesIO(data))
        return
    yield from enumerate(rows if isinstance(rows, list) else [rows], 1)


def _table(file: Path | str, stream: IO[bytes], delimiter: str, columns: Sequence[str]) -> Iterator[tuple[int, Any]]:
    """The lines of a table under its header, by the header's names; by `columns` where it has none."""
    limit = csv.field_size_limit(MAX_ROW_BYTES)  # of the whole process, so what it was is put back
    try:
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            for number, row in enumerate(csv.DictReader(text, columns or None, delimiter=delimiter), 1):
                ragged = None in row or None in row.values()  # a cell more, or one less, than the header has
                yield number, RowError("ragged", f"row {number} has not as many cells as the header") if ragged else row
    except UnicodeDecodeError as fault:
        raise DataError(f"{file} is not UTF-8 ({fault.reason} at byte {fault.start}); save it as UTF-8") from None
    except csv.Error as fault:
        raise DataError(f"{file} is no table that can be read ({fault}); write it again") from None
    finally:
        csv.field_size_limit(limit)


def _without_mark(file: Path | str, data: bytes) -> bytes:
    """Without the byte order mark that editors put before UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{file} is UTF-16; save it as UTF-8")
    return data.removeprefix(b"\xef\xbb\xbf")


def _read(data: bytes, where: str) -> Any:
    """What JSON says, or a RowError."""
    try:
        row = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as fault:
        return RowError("not UTF-8", f"{where} is not UTF-8 ({fault.reason} at byte {fault.start})")
    except RecursionError:
        return RowError("too deep", f"{where} is nested more than {MAX_DEPTH} deep")
    except ValueError as fault:
        return RowError("not JSON", f"{where} is not JSON ({fault})")
    if _depth(row) > MAX_DEPTH:
        return RowError("too deep", f"{where} is nested more than {MAX_DEPTH} deep")
    return _clean(row) if b"\\ud" in data.lower() else row


def _depth(value: Any) -> int:
    """How deep lists and objects lie in one another; not by recursion, since that is what it guards."""
    depth, level = 0, [value]
    while depth <= MAX_DEPTH and (level := _members(level)):
        depth += 1
    return depth


def _members(level: list[Any]) -> list[Any]:
    """All that stands directly in the lists and objects among these values."""
    members: list[Any] = []
    for value in level:
        if isinstance(value, dict):
            members.extend(value.values())
        elif isinstance(value, list):
            members.extend(value)
    return members


def _clean(value: Any) -> Any:
    """Halves of surrogate pairs, which no encoding can write, replaced by U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_clean(member) for member in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(member) for name, member in value.items()}
    return value


def _largest_column(metadata: Any) -> int:
    """Bytes of the largest column of a row group, unpacked; 0 where there is none."""
    largest = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for column in range(group.num_columns):
            largest = max(largest, group.column(column).total_uncompressed_size)
    return largest


def _parquet(file: Path | str) -> Iterator[tuple[int, Any]]:
    """Row by row; how many are unpacked at once follows from the largest column, since one cell may be all of it."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(_open(file) if is_address(str(file)) else file)
        largest = _largest_column(table.metadata)
        if largest > MAX_FILE_BYTES:
            raise DataError(f"{file} unpacks a column of {largest >> 20:,} MB at once; write it in smaller row groups")
        number = 0
        for batch in table.iter_batches(max(1, min(256, _BATCH_BYTES // max(1, largest)))):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as fault:
        raise DataError(f"{file} is no Parquet file that can be read ({str(fault)[:80]}); fetch it again") from None


def _arrow(file: Path | str, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
    """Row by row, a few as Python's values at once."""
    number = 0
    try:
        for batch in arrow_batches(stream):
            check_batch(batch)
            for start in range(0, batch.num_rows, _ARROW_ROWS):
                for row in batch.slice(start, _ARROW_ROWS).to_pylist():
                    number += 1
                    yield number, row
    except ValueError as fault:
        raise DataError(f"{file}, after row {number}: {fault}; fetch or write it again") from None
