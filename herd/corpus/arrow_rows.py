"""The rows of Arrow's tables: which columns are read, how much of each cell, and the pages of `.arrow` files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from herd.core.arrow_streams import arrow_batches, check_buffers
from herd.corpus.columns import MAX_NOTES, NOTE_CHARACTERS, TOO_LONG, TextColumns, without_text
from herd.corpus.pages import PAGE_BYTES, Page
from herd.corpus.tables import row_page

UNPACKED_FLOOR, UNPACKED_RATIO, ROW_BYTES = 1 << 28, 1000, 64  # bytes that a file of `size` may unpack to
_FALLBACKS = ("date", "metadata.url")  # where other sets say when and where
_CELL_BYTES = 4 * NOTE_CHARACTERS  # of a cell that is no document
_MAX_KEPT = 2 * MAX_NOTES  # columns that are read to be kept


class TableColumns:
    """The columns of a table that are read. names: with `OUTER.INNER` for what stands inside objects; those with a use,
    and others that documents keep. left_out: how many that are to be kept cannot be, because there are too many or they
    hold lists."""

    def __init__(self, schema: Any, columns: TextColumns) -> None:
        self._columns, self._all_names = columns, list(schema.names)
        used = {*columns.names, *_FALLBACKS}
        self.names: list[str] = []
        self.left_out = kept = 0
        for name, plain in _leaves(schema):
            if name in used and plain:
                self.names.append(name)
            elif name not in used and _is_kept(name, columns):
                kept += plain
                if plain and kept <= _MAX_KEPT:
                    self.names.append(name)
                else:
                    self.left_out += 1

    def missing(self, rows: int) -> str:
        """What to say of a table without a text; empty where there is one."""
        if {self._columns.text, self._columns.html} & set(self.names):
            return ""
        return without_text(self._columns, self._all_names, rows=rows)

    def arrays(self, batch: Any) -> dict[str, Any]:
        """The columns of a batch, those inside objects by themselves."""
        found: dict[str, Any] = {}
        for name in self.names:
            outer, _, inner = name.partition(".")
            if name in batch.schema.names:
                found[name] = batch.column(name)
            else:
                struct = batch.column(outer)
                found[name] = struct.flatten()[struct.type.get_field_index(inner)]
        return found

    def rows(self, arrays: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The rows as values of Python; TOO_LONG stands for a cell that is longer than what may be done with it."""
        documents = (self._columns.text, self._columns.html)
        limits = {name: PAGE_BYTES if name in documents else _CELL_BYTES for name in arrays}
        for at in range(len(next(iter(arrays.values())))):
            row: dict[str, Any] = {}
            for name, array in arrays.items():
                value = _cell(array[at], limits[name])
                outer, dot, inner = name.partition(".")
                if dot and name not in self._all_names:
                    row.setdefault(outer, {})[inner] = value
                else:
                    row[name] = value
            yield row


def _leaves(schema: Any) -> Iterator[tuple[str, bool]]:
    """The columns of a schema, those inside objects by themselves, and whether each holds one value a row."""
    from pyarrow import types

    for name in dict.fromkeys(schema.names):
        if schema.names.count(name) > 1:
            yield name, False
            continue
        kind = schema.field(name).type
        if not types.is_struct(kind):
            yield name, _is_plain(kind)
            continue
        inner = [kind.field(number) for number in range(kind.num_fields)]
        for field in inner:
            unique = sum(other.name == field.name for other in inner) == 1
            yield f"{name}.{field.name}", unique and _is_plain(field.type)


def _is_plain(kind: Any) -> bool:
    """Whether a column of this type holds one value a row, which takes bytes in the file."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return is_text(kind) or types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind)


def is_text(kind: Any) -> bool:
    """Whether a type is of texts, or of bytes."""
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind)


def _is_kept(name: str, columns: TextColumns) -> bool:
    return columns.keep is None or name in columns.keep or name.partition(".")[0] in columns.keep


def _cell(scalar: Any, most: int) -> Any:
    import pyarrow as arrow

    if isinstance(scalar, arrow.DictionaryScalar):
        scalar = scalar.value if scalar.is_valid else None
    if scalar is None or not scalar.is_valid:
        return None
    if is_text(scalar.type):
        return scalar.as_py() if scalar.as_buffer().size <= most else TOO_LONG
    try:
        return scalar.as_py()
    except (arrow.ArrowException, ValueError, OverflowError):  # a day that Python has no date for
        return TOO_LONG


class ArrowRows:
    """The pages of an Arrow file, as `datasets.save_to_disk` writes it. fault: what is wrong with it, known when all is
    read; what stands before is used."""

    def __init__(self, stream: BinaryIO, size: int, name: str, source: str, columns: TextColumns) -> None:
        self._stream, self._name, self._source, self._columns = stream, name, source, columns
        self._bytes_left = UNPACKED_FLOOR + UNPACKED_RATIO * size
        self.fault = ""

    def __iter__(self) -> Iterator[Page]:
        try:
            yield from self._pages()
        except ValueError as fault:
            self.fault = str(fault)

    def _pages(self) -> Iterator[Page]:
        number, read = 0, None
        for batch in arrow_batches(self._stream):
            read = read or TableColumns(batch.schema, self._columns)
            if missing := read.missing(batch.num_rows):
                yield Page(f"{self._name}:{number + 1}", self._source, fault=missing)
                number += batch.num_rows
                continue
            check_buffers(batch, full=False)
            arrays = read.arrays(batch)
            for array in arrays.values():
                check_buffers(array)
            for row in read.rows(arrays):
                number += 1
                page = row_page(row, f"{self._name}:{number}", self._source, self._columns, left_out=read.left_out)
                self._bytes_left -= len(page.body) + len(page.notes) + ROW_BYTES
                yield page
                if self._bytes_left < 0:
                    raise ValueError(f"unpacks to more than {UNPACKED_RATIO:,} times its size")
