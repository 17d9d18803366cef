"""The rows of Parquet files: what their pages say they unpack to is read before they are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from herd.core.errors import DataError
from herd.corpus import row_groups
from herd.corpus.pages import Page
from herd.corpus.reading import FileSpan, read_pages
from herd.corpus.row_groups import ParquetRows, _page_header
from tests.corpus.test_broken_files import ROWS, read


def stored(table: arrow.Table, **how: Any) -> bytes:
    out = io.BytesIO()
    parquet.write_table(table, out, **how)
    return out.getvalue()


def rows_of(data: bytes) -> tuple[list[Page], str]:
    rows = ParquetRows(io.BytesIO(data), len(data), "a.parquet", "mine")
    return list(rows), rows.fault


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_the_headers_of_pages_add_up_to_what_the_file_says(version: str, dictionary: bool, compression: str) -> None:
    table = arrow.table({"text": [f"row {n} of {n % 7}" * (n % 40) for n in range(3000)]})
    data = stored(
        table,
        data_page_version=version,
        use_dictionary=dictionary,
        compression=compression,
        data_page_size=2000,
        row_group_size=1500,
        write_page_checksum=True,
    )
    stream = io.BytesIO(data)
    metadata = parquet.ParquetFile(io.BytesIO(data)).metadata
    for number in range(metadata.num_row_groups):
        column = metadata.row_group(number).column(0)
        at = column.dictionary_page_offset if dictionary else column.data_page_offset
        end, total, pages = at + column.total_compressed_size, 0, 0
        while at < end:
            stream.seek(at)
            unpacked, packed, header = _page_header(stream)
            at, total, pages = at + packed + header, total + unpacked + header, pages + 1
        assert (at, total) == (end, column.total_uncompressed_size)
        assert pages > 1
    found, fault = rows_of(data)
    assert [page.body.decode() for page in found] == table["text"].to_pylist()
    assert (fault, found[0].id, found[-1].id) == ("", "a.parquet:1", "a.parquet:3000")


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"\x15\x00\x15\x10\x00", "says no sizes"),  # fields 1 and 2 only
        (b"\x15\x00\x15\x01\x15\x10\x00", "says no sizes"),  # it unpacks to -1 bytes
        (b"\x15" + b"\xff" * 12, "a number without end"),
        (b"\x1c" * 20, "nested too deep"),
        (b"\x1f\x00", "of no known kind"),
        (b"\x15\x00\x15", "has no end"),
        (b"\x18\x7f", "has no end"),
    ],
)
def test_a_header_that_says_nonsense_is_told(header: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _page_header(io.BytesIO(header))


def test_a_header_is_read_over_fields_of_every_kind() -> None:
    """Thrift's compact protocol: by steps between fields or whole numbers, zigzag; lists, strings and structures."""
    fields = b"".join(
        (
            b"\x15\x06",  # 1: i32
            b"\x15\xc8\x01",  # 2: i32, 100 unpacked
            b"\x15\x14",  # 3: i32, 10 packed
            b"\x18\x03abc",  # 4: binary
            b"\x11\x12",  # 5, 6: true and false
            b"\x17" + bytes(8),  # 7: double
            b"\x13\x09",  # 8: byte
            b"\x19\x25\x02\x04",  # 9: two i32
            b"\x1c\x15\xfe\x01\x00",  # 10: a structure
            b"\x06\x28\x02",  # 20, said whole: i64
            b"\x00",
        )
    )
    assert _page_header(io.BytesIO(fields + b"data")) == (100, 10, len(fields))


def test_parquet_and_a_file_that_only_says_so(tmp_path: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    file = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"text": ["one", None, "three"], "url": ["u", "v", "w"]}), file)
    found = list(read_pages(FileSpan(str(file), "mine")))
    assert [page.body for page in found if not page.fault] == [b"one", b"three"]
    assert found[1].fault
    file.write_bytes(b"PAR1nonsense")
    with pytest.raises(DataError, match="no Parquet file or a damaged one"):
        list(read_pages(FileSpan(str(file), "mine")))


def test_parquet_that_inflates_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "UNPACKED_FLOOR", 1 << 22)
    text = arrow.array(["long text " * 20_000])
    table = arrow.table({"text": arrow.DictionaryArray.from_arrays(arrow.array([0] * 100_000, arrow.int32()), text)})
    parquet.write_table(table, tmp_path / "t.parquet")
    found, told = read(tmp_path, "a.parquet", (tmp_path / "t.parquet").read_bytes())
    assert 0 < len(found) < 1_000
    assert "times its size" in told
    monkeypatch.setattr(row_groups, "PAGE_LIMIT", 1 << 20)
    parquet.write_table(arrow.table({"text": ["x" * (1 << 21)]}), tmp_path / "t.parquet", use_dictionary=False)
    (page,), told = read(tmp_path, "a.parquet", (tmp_path / "t.parquet").read_bytes())
    assert "unpacks to 2,097,1" in page.fault


def test_a_damaged_group_of_rows_costs_itself(tmp_path: Path) -> None:
    parquet.write_table(
        arrow.table({"text": [row["text"] for row in ROWS]}), tmp_path / "t.parquet", row_group_size=100
    )
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    start = parquet.ParquetFile(tmp_path / "t.parquet").metadata.row_group(1).column(0).dictionary_page_offset
    data[start + 40 : start + 90] = bytes(50)
    found, told = read(tmp_path, "a.parquet", bytes(data))
    assert len(found) == 300
    assert "group 1 of rows is damaged" in told


def test_columns_that_are_no_field_of_a_page_are_not_read() -> None:
    table = arrow.table(
        {
            "html": ["<p>a", "<p>b"],
            "url": [["a list"], ["of lists"]],
            "metadata": [{"url": "u", "other": 1}, {"url": None, "other": 2}],
            "date": arrow.array([0, None], arrow.timestamp("s")),
            "big": ["x" * 999] * 2,
        }
    )
    found, fault = rows_of(stored(table))
    assert fault == ""
    assert [(page.body, page.html, page.url, page.added) for page in found] == [
        (b"<p>a", True, "u", "1970-01-01"),
        (b"<p>b", True, "", ""),
    ]


@pytest.mark.parametrize(
    "table",
    [
        arrow.table({"body": ["a", "b"]}),
        arrow.table({"text": [["a"], ["b"]]}),
        arrow.Table.from_arrays([arrow.array(["a", "b"])] * 2, ["text", "text"]),
    ],
)
def test_a_table_without_a_text_is_one_reject(table: arrow.Table) -> None:
    (page,), fault = rows_of(stored(table))
    listing = ", ".join(table.column_names)
    assert page.fault == f"2 rows without a text in the column `text` or a page in `html`; the columns are {listing}"
    assert fault == ""
