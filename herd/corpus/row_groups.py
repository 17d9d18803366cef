"""The rows of Parquet files, a few at once, whatever their pages say they unpack to.

Source: the Parquet format, PageHeader in its Thrift definition (compact protocol).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from herd.corpus.arrow_rows import ROW_BYTES, UNPACKED_FLOOR, UNPACKED_RATIO, TableColumns, is_text
from herd.corpus.columns import AS_ROWS_SAY, TextColumns
from herd.corpus.pages import Page
from herd.corpus.tables import row_page

PAGE_LIMIT = 1 << 29  # of a page, unpacked
_MAX_BATCH_BYTES = 1 << 29  # of pages that rows read at once may lie in
_ROWS = 256


class ParquetRows:
    """The pages of a Parquet file. fault: what is wrong with it, known when all is read; a damaged group of rows
    costs itself only."""

    def __init__(self, stream: BinaryIO, size: int, name: str, source: str, columns: TextColumns = AS_ROWS_SAY) -> None:
        self._stream, self._name, self._source, self._columns, self.fault = stream, name, source, columns, ""
        self._bytes_left = UNPACKED_FLOOR + UNPACKED_RATIO * size
        self._number = 0

    def __iter__(self) -> Iterator[Page]:
        import pyarrow as arrow
        import pyarrow.parquet as parquet

        try:
            plain = parquet.ParquetFile(self._stream)
            read = TableColumns(plain.schema_arrow, self._columns)
            if missing := read.missing(plain.metadata.num_rows):
                yield Page(self._name, self._source, fault=missing)
                return
            # A text said once for many rows stays one text.
            file = parquet.ParquetFile(self._stream, read_dictionary=_in_dictionaries(plain, read.names))
        except (arrow.ArrowException, OSError, ValueError) as fault:
            self.fault = f"is no Parquet file or a damaged one ({str(fault).splitlines()[0]})"
            return
        for group in range(file.metadata.num_row_groups):
            try:
                yield from self._group(file, group, read)
            except (arrow.ArrowException, OSError, ValueError, IndexError) as fault:
                self.fault = self.fault or f"its group {group} of rows is damaged ({str(fault).splitlines()[0]})"
            if self._bytes_left < 0:
                self.fault = f"unpacks to more than {UNPACKED_RATIO:,} times its size"
                return

    def _group(self, file: Any, group: int, read: TableColumns) -> Iterator[Page]:
        largest = max((size for size in self._page_sizes(file.metadata.row_group(group), read.names)), default=0)
        if largest > PAGE_LIMIT:
            rows = file.metadata.row_group(group).num_rows
            fault = f"{rows:,} rows on a page that says it unpacks to {largest:,} bytes, more than {PAGE_LIMIT:,}"
            yield Page(f"{self._name}:group {group}", self._source, fault=fault)
            return
        count = max(1, min(_ROWS, _MAX_BATCH_BYTES // max(1, largest)))
        for batch in file.iter_batches(count, row_groups=[group], columns=read.names, use_threads=False):
            arrays = read.arrays(batch)
            # What was said once for many rows and is unpacked for each of them; texts in dictionaries are not.
            self._bytes_left -= sum(array.nbytes for array in arrays.values() if not hasattr(array, "dictionary"))
            for row in read.rows(arrays):
                self._number += 1
                identity = f"{self._name}:{self._number}"
                page = row_page(row, identity, self._source, self._columns, left_out=read.left_out)
                self._bytes_left -= len(page.body) + len(page.notes) + ROW_BYTES
                yield page
                if self._bytes_left < 0:
                    return

    def _page_sizes(self, group: Any, columns: list[str]) -> Iterator[int]:
        """What each page of these columns says it unpacks to, in bytes."""
        for number in range(group.num_columns):
            column = group.column(number)
            if column.path_in_schema not in columns:
                continue
            at = column.data_page_offset
            if column.has_dictionary_page and column.dictionary_page_offset:
                at = min(at, column.dictionary_page_offset)
            end = at + column.total_compressed_size
            while at < end:
                self._stream.seek(at)
                unpacked, packed, header = _page_header(self._stream)
                yield unpacked
                at += header + packed


def _in_dictionaries(file: Any, columns: list[str]) -> list[str]:
    """Columns of texts of which a part at least is written as a dictionary."""
    dictionary_columns = set()
    for group in range(file.metadata.num_row_groups):
        for number in range(file.metadata.row_group(group).num_columns):
            column = file.metadata.row_group(group).column(number)
            if column.has_dictionary_page or any("DICTIONARY" in encoding for encoding in column.encodings):
                dictionary_columns.add(column.path_in_schema)
    schema = file.schema_arrow
    names = [name for name in columns if name in dictionary_columns and "." not in name]
    return [name for name in names if is_text(schema.field(name).type)]


# ---- Thrift's compact protocol ----


def _page_header(stream: BinaryIO) -> tuple[int, int, int]:
    """Bytes of a page unpacked and packed, and of the header that says so."""
    data = stream.read(1 << 12)
    while True:
        try:
            reader = _Compact(data)
            fields = reader.struct()
            sizes = fields.get(2), fields.get(3)
            if None in sizes or min(sizes) < 0:  # type: ignore[type-var]
                raise ValueError("a page's header says no sizes")
            return sizes[0], sizes[1], reader.at  # type: ignore[return-value]
        except IndexError:
            more = stream.read(len(data))
            if not more or len(data) > PAGE_LIMIT:
                raise ValueError("a page's header has no end") from None
            data += more


class _Compact:
    """As much of the protocol as tells where a structure ends and which whole numbers it holds."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def _byte(self) -> int:
        self.at += 1
        return self._data[self.at - 1]

    def _number(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a page's header holds a number without end")

    def struct(self, depth: int = 0) -> dict[int, int]:
        """The whole numbers among the fields, by the fields' numbers."""
        if depth > 8:
            raise ValueError("a page's header is nested too deep")
        fields: dict[int, int] = {}
        field = 0
        while head := self._byte():
            kind = head & 15
            if head >> 4:
                field += head >> 4
            else:
                number = self._number()
                field = number >> 1 ^ -(number & 1)
            value = self._value(kind, depth)
            if value is not None:
                fields[field] = value
        return fields

    def _value(self, kind: int, depth: int) -> int | None:
        if kind in (4, 5, 6):
            number = self._number()
            return number >> 1 ^ -(number & 1)
        if kind == 8:
            length = self._number()
            self.at += length
        elif kind == 7:
            self.at += 8
        elif kind == 3:
            self.at += 1
        elif kind in (9, 10):
            head = self._byte()
            for _ in range(head >> 4 if head >> 4 < 15 else self._number()):
                self._value(head & 15 if head & 15 > 2 else 3, depth)
        elif kind == 12:
            self.struct(depth + 1)
        elif kind not in (1, 2):
            raise ValueError("a page's header holds a field of no known kind")
        if self.at > len(self._data):
            raise IndexError
        return None
