"""Rows of Arrow files as pages: what is read of a table, and that nothing a file says bounds memory or time."""

from __future__ import annotations

import datetime
import io
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest

from herd.core.errors import DataError
from herd.corpus import arrow_rows
from herd.corpus.arrow_rows import ArrowRows, TableColumns, is_text
from herd.corpus.columns import ANY_TABLE, AS_ROWS_SAY, LEFT_OUT, TextColumns
from herd.corpus.pages import PAGE_BYTES, Page
from herd.corpus.reading import FileSpan, read_pages
from herd.corpus.sources import scan_files


def packed(table: Any) -> bytes:
    sink = io.BytesIO()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def pages_of(data: bytes, columns: TextColumns = ANY_TABLE) -> tuple[list[Page], str]:
    rows = ArrowRows(io.BytesIO(data), len(data), "a.arrow", "mine", columns)
    return list(rows), rows.fault


def test_a_saved_data_set_is_read_in_order_and_its_other_files_are_passed_over(tmp_path: Path) -> None:
    for number in range(2):
        table = arrow.table({"text": [f"text {number}.{n}" for n in range(3)], "n": [0, 1, 2]})
        (tmp_path / f"data-{number:05}-of-00002.arrow").write_bytes(packed(table))
    for name in ("dataset_info.json", "state.json"):
        (tmp_path / name).write_text("{}")
    scan = scan_files([str(tmp_path)], source="mine")
    assert [Path(file).suffix for file in scan.readable] == [".arrow"] * 2
    assert scan.passed_over == {".json": 2}
    found = [page for file in scan.readable for page in read_pages(FileSpan(file, "mine"))]
    assert [page.body.decode() for page in found] == [f"text {number}.{n}" for number in range(2) for n in range(3)]
    assert found[4].id == "data-00001-of-00002.arrow:2"


def test_columns_of_one_value_are_kept_with_those_in_objects_and_lists_are_counted() -> None:
    table = arrow.table(
        {
            "text": ["a"],
            "day": [datetime.date(2024, 3, 1)],
            "meta": [{"x": 1, "tags": ["p"], "url": "u"}],
            "tags": [["p", "q"]],
            "kind": arrow.array(["code"]).dictionary_encode(),
            "raw": [b"\x00"],
            "long": ["x" * 40_000],
        }
    )
    (page,), fault = pages_of(packed(table))
    assert not fault
    assert page.notes == ('{"day": "2024-03-01", "meta": {"x": 1, "url": "u"}, "kind": "code", "' + LEFT_OUT + '": 4}')
    assert pages_of(packed(table), AS_ROWS_SAY)[0][0].notes == ""
    (page,), _ = pages_of(packed(table), TextColumns(keep=("meta",), url="meta.url"))
    assert (page.url, page.notes) == ("u", '{"meta": {"x": 1}, "' + LEFT_OUT + '": 1}')
    assert TableColumns(table.schema, TextColumns(keep=("tags",))).left_out == 1
    many = arrow.schema([("text", arrow.string()), *((f"c{n}", arrow.int8()) for n in range(200))])
    assert TableColumns(many, TextColumns()).left_out == 200 - 128


def test_a_table_without_a_text_is_told_with_its_columns() -> None:
    pages, fault = pages_of(packed(arrow.table({"content": ["a", "b"], "n": [1, 2]})))
    assert [page.fault for page in pages] == [
        "2 rows without a text in the column `text` or a page in `html`; the columns are content, n"
    ]
    assert not fault
    assert len(pages_of(packed(arrow.table({"content": ["a", "b"]})), TextColumns(text="content"))[0]) == 2
    assert "without a text" in pages_of(packed(arrow.table({"text": [["a"]]})))[0][0].fault


def test_a_text_that_is_too_long_costs_its_row_and_one_said_often_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pages, _ = pages_of(packed(arrow.table({"text": ["x" * (PAGE_BYTES + 1), "y"]})))
    assert [page.fault for page in pages] == [f"longer than {PAGE_BYTES:,} bytes", ""]
    monkeypatch.setattr(arrow_rows, "UNPACKED_FLOOR", 1 << 20)
    monkeypatch.setattr(arrow_rows, "UNPACKED_RATIO", 1)
    said = arrow.DictionaryArray.from_arrays(arrow.array([0] * 1_000, arrow.int32()), arrow.array(["long " * 20_000]))
    pages, fault = pages_of(packed(arrow.table({"text": said})))
    assert 0 < len(pages) < 20
    assert "unpacks to more than 1 times its size" in fault


def test_a_file_that_breaks_off_is_used_up_to_there(tmp_path: Path) -> None:
    data = packed(arrow.table({"text": [f"{n}" for n in range(10)]}))
    (tmp_path / "a.arrow").write_bytes(data[: len(data) * 2 // 3])
    pages: list[Page] = []
    with pytest.raises(DataError, match=r"a\.arrow: breaks off; what \d rows or pages of it say is used"):
        pages.extend(read_pages(FileSpan(str(tmp_path / "a.arrow"), "mine")))
    assert 2 <= len(pages) < 10
    assert pages_of(b"junk")[1] == "is no Arrow file, or a damaged one"


def test_a_type_of_texts_is_told_from_others() -> None:
    assert is_text(arrow.large_binary())
    assert not is_text(arrow.int8())
