"""The rows of a file of others, one at a time: JSON lines, JSON, CSV, TSV or Parquet, packed or not.

What a file says of itself bounds nothing here: a row has a most size and depth, what unpacks is read piece by piece,
and a row that cannot be read is reported as that, so that the next one is read.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from herd.core.errors import DataError

MAX_ROW_BYTES = 64 << 20
MAX_FILE_BYTES = 1 << 30  # of a .json file, which is read as a whole
MAX_DEPTH = 100
_BATCH_BYTES = 256 << 20
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".xz": "xz"}


class RowError(DataError):
    """A row that is left out. reason: a word or two, to count by."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason

    def __reduce__(self) -> tuple[type[RowError], tuple[str, str]]:
        return type(self), (self.reason, str(self))  # Python would make it again from `args`, which has no reason


def iter_rows(file: Path) -> Iterator[tuple[int, Any]]:
    """(line, row) of every row of the file; a row that cannot be read is a RowError in its place.

    Blank lines are passed over. Raises DataError, with the file's name, when the file itself cannot be read: it is not
    there, breaks off, or is no text.
    """
    name = file.name.lower()
    compression = next((ending for ending in _COMPRESSIONS if name.endswith(ending)), "")
    kind = Path(name.removesuffix(compression)).suffix
    number = 0
    try:
        for number, row in _of_kind(file, kind, compression):
            yield number, row
    except EOFError:
        raise DataError(f"{file} breaks off after line {number}; fetch the file again") from None
    except OSError as fault:
        words = fault.strerror or f"{fault}"
        # What unpacks says of a torn file that it failed; what is not there has a number.
        if fault.errno is None:
            raise DataError(f"{file} is broken after line {number} ({words}); fetch the file again") from None
        raise DataError(f"{file} cannot be read: {words}; name a file of rows") from None


def _of_kind(file: Path, kind: str, compression: str) -> Iterator[tuple[int, Any]]:
    if kind == ".parquet":
        yield from _parquet(file)
        return
    with _open_stream(file, compression) as stream:
        if kind == ".json":
            yield from _json_rows(file, stream)
        elif kind in _DELIMITERS:
            yield from _table(file, stream, _DELIMITERS[kind])
        else:
            yield from _lines(file, stream)


def _open_stream(file: Path, compression: str) -> IO[bytes]:
    if compression == ".gz":
        import gzip

        return gzip.open(file)  # type: ignore[return-value]
    if compression == ".bz2":
        import bz2

        return bz2.open(file)
    if compression == ".xz":
        import lzma

        return lzma.open(file)
    if compression == ".zst":
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(file), compression="zstd"), 1 << 20)  # type: ignore[arg-type]
    return file.open("rb")


def _lines(file: Path, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
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


def _json_rows(file: Path, stream: IO[bytes]) -> Iterator[tuple[int, Any]]:
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


def _table(file: Path, stream: IO[bytes], delimiter: str) -> Iterator[tuple[int, Any]]:
    """The lines of a table under its header, by the header's names."""
    limit = csv.field_size_limit(MAX_ROW_BYTES)  # of the whole process, so what it was is put back
    try:
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            for number, row in enumerate(csv.DictReader(text, delimiter=delimiter), 1):
                ragged = None in row or None in row.values()  # a cell more, or one less, than the header has
                yield number, RowError("ragged", f"row {number} has not as many cells as the header") if ragged else row
    except UnicodeDecodeError as fault:
        raise DataError(f"{file} is not UTF-8 ({fault.reason} at byte {fault.start}); save it as UTF-8") from None
    except csv.Error as fault:
        raise DataError(f"{file} is no table that can be read ({fault}); write it again") from None
    finally:
        csv.field_size_limit(limit)


def _without_mark(file: Path, data: bytes) -> bytes:
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


def _parquet(file: Path) -> Iterator[tuple[int, Any]]:
    """Row by row; how many are unpacked at once follows from the largest column, since one cell may be all of it."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.ParquetFile(file)
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
