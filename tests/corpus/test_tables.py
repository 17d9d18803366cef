"""Rows of tables as pages: whatever the pieces they come in, and whatever they say of themselves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.corpus import tables
from herd.corpus.pages import Page
from herd.corpus.reading import FileSpan, read_pages
from herd.corpus.tables import json_pages, row_page
from tests.corpus.test_broken_files import LINES, ROWS, read


class Slow:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, piece: int, fault: str = "") -> None:
        self._stream, self._piece, self.fault = io.BytesIO(data), piece, fault

    def read(self, size: int) -> bytes:
        return self._stream.read(min(size, self._piece))


def written(rows: list[dict[str, Any]], form: str) -> bytes:
    separators = {"lines": "\n", "values": " \n ", "list": ",", "data": ","}
    indent = None if form == "lines" else 1
    text = separators[form].join(json.dumps(row, ensure_ascii=len(str(row)) % 2 == 0, indent=indent) for row in rows)
    return {"lines": text, "values": text, "list": f"[{text}]", "data": f'{{"data": [{text}]}}'}[form].encode()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    st.lists(
        st.builds(lambda text, other: {"text": text, "x": other}, TEXTS, st.none() | TEXTS), min_size=1, max_size=5
    ),
    st.sampled_from(["lines", "values", "list", "data"]),
    st.integers(1, 40),
)
def test_rows_are_the_same_in_any_form_and_in_any_pieces(rows: list[dict[str, Any]], form: str, piece: int) -> None:
    data = written(rows, form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "_CHUNK", 16)
        for mark in (b"", b"\xef\xbb\xbf"):
            found = list(json_pages(Slow(mark + data, piece), "a", "mine", lines=False))
            assert [page.body.decode() for page in found] == [row["text"] for row in rows]
            assert not any(page.fault for page in found)
            assert len({page.id for page in found}) == len(rows)


@given(
    st.lists(st.sampled_from([b'{"text": "a"}', b"", b"  ", b"nonsense", b"[1]", b"\r"]), max_size=12),
    st.integers(1, 9),
)
def test_lines_are_numbered_as_an_editor_numbers_them(lines: list[bytes], piece: int) -> None:
    found = list(json_pages(Slow(b"\n".join(lines), piece), "a", "mine", lines=True))
    assert [page.id for page in found] == [f"a:{number}" for number, line in enumerate(lines, 1) if line.strip()]
    faults = {b"nonsense": "not JSON", b"[1]": "not a JSON object"}
    assert [page.fault for page in found] == [faults.get(line, "") for line in lines if line.strip()]


def test_a_line_without_end_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LINE_BYTES", 3_000_000)
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "' + b"x" * 9_000_000 + b'"}\n{"text": "after"}\n')
    found = list(read_pages(FileSpan(str(file), "mine")))
    assert "longer than" in found[0].fault
    assert found[1].body == b"after"


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=2).encode(),
        b"\xef\xbb\xbf" + json.dumps({"version": 1, "data": ROWS}, indent=1).encode(),
        LINES,
        "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
    ],
)
def test_json_is_a_list_lines_or_values(data: bytes, tmp_path: Path) -> None:
    found, told = read(tmp_path, "a.json", data)
    assert [page.body.decode() for page in found] == [row["text"] for row in ROWS]
    assert not told


def test_a_broken_row_in_a_list_costs_itself(tmp_path: Path) -> None:
    found, _ = read(
        tmp_path, "a.json", b'[\n{"text": "a"},\n{"text": bad},\n{"text": "b"},\n{"text": "c", ]\n,\n{"text": "d"}]'
    )
    assert [page.body for page in found if not page.fault] == [b"a", b"b", b"d"]
    assert len(found) == 5


@pytest.mark.parametrize("data", [b"[" * 500_000, b'{"a":' * 500_000, b'[{"text": "' + b"a" * 500_000])
def test_json_nested_without_end_is_counted(data: bytes, tmp_path: Path) -> None:
    found, _ = read(tmp_path, "a.json", data)
    assert [bool(page.fault) for page in found] == [True]


def test_fields_are_bounded(tmp_path: Path) -> None:
    rows = [{"text": "a", "id": "x" * 100_000}, {"text": "b", "url": {"deep": 1}}, {"text": 5}, {"text": "c", "id": 5}]
    found, _ = read(
        tmp_path,
        "a.jsonl",
        "\n".join(map(json.dumps, rows)).encode() + b'\n{"text": "d", "x": [' + b"[]," * 700_000 + b"1]}",
    )
    assert [page.body for page in found if not page.fault] == [b"c"]
    assert [
        word in page.fault
        for page, word in zip([*found[:3], found[4]], ("`id`", "`url`", "no text", "values"), strict=True)
    ] == [True] * 4


def test_blank_lines_are_passed_over_together_and_numbered(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "a.jsonl", b'{"text": "a"}\n' + b"\n \n" * 1_000_000 + b'{"text": "b"}\n')
    assert [page.id for page in found] == ["a.jsonl:1", "a.jsonl:2000002"]


def test_the_last_line_before_a_break_is_a_row_if_it_is_whole() -> None:
    for last, count in ((b'{"text": "b"}', 2), (b'{"text": "b', 1)):
        data = b'{"text": "a"}\n' + last
        assert len(list(json_pages(Slow(data, 9, "breaks off"), "a", "mine", lines=True))) == count
        assert (
            len(list(json_pages(Slow(b"[" + data.replace(b"\n", b","), 9, "breaks off"), "a", "m", lines=False)))
            == count
        )
    (_, broken) = json_pages(Slow(b'{"text": "a"}\n{"text": "b', 9), "a", "mine", lines=True)
    assert broken.fault == "not JSON"  # a file that ends so is no file that breaks off


@pytest.mark.parametrize(
    ("row", "page"),
    [
        ({"text": "a", "html": "<p>b"}, Page("row", "mine", b"a", charset="utf-8", html=False)),
        ({"html": "<p>b", "text": None}, Page("row", "mine", b"<p>b", charset="utf-8")),
        ({"text": ""}, Page("row", "mine", charset="utf-8", html=False)),
        (
            {"text": "a", "id": 5, "source": "own", "url": "u", "added": "2024-03-01T09:00:00Z", "date": "1999"},
            Page("5", "own", b"a", "u", "2024-03-01", "utf-8", html=False),
        ),
        (
            {"text": "a", "metadata": {"url": "v"}, "date": "2024"},
            Page("row", "mine", b"a", "v", "2024", "utf-8", html=False),
        ),
        ({"text": "a", "metadata": "no object", "url": ""}, Page("row", "mine", b"a", charset="utf-8", html=False)),
        ({"text": "\ud800ü"}, Page("row", "mine", "?ü".encode(), charset="utf-8", html=False)),
        (
            {"text": 5, "html": ["x"]},
            Page("row", "mine", fault="has no text in the field `text` and no page in `html`"),
        ),
        (
            {"text": "a", "added": ["2024"]},
            Page("row", "mine", fault="its field `added` is no text of up to 8,192 characters"),
        ),
    ],
)
def test_a_row_is_a_page_by_its_fields(row: dict[str, Any], page: Page) -> None:
    assert row_page(row, "row", "mine") == page


def test_a_row_is_as_long_as_a_page_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "PAGE_BYTES", 6)
    assert not row_page({"text": "üüü"}, "row", "mine").fault
    assert row_page({"text": "üüüa"}, "row", "mine").fault == "longer than 6 bytes"


def test_a_list_inside_an_object_is_its_rows_unless_the_object_is_one() -> None:
    def ids(value: object) -> list[str]:
        return [page.id for page in json_pages(io.BytesIO(json.dumps(value, indent=1).encode()), "a", "m", lines=False)]

    rows = [{"text": "a"}, {"text": "b"}]
    assert ids({"version": 1, "data": rows}) == ["a:1.1", "a:1.2"]
    assert ids({"text": "c", "data": rows}) == ["a:1"]
    assert ids({"first": rows, "second": rows}) == ["a:1"]  # which of them is the table, it does not say
    assert ids([*rows, {"data": rows}]) == ["a:1", "a:2", "a:3.1", "a:3.2"]
    assert ids([]) == []
