"""Rows of tables as pages: JSON in its kinds. What a row says bounds neither memory nor time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from herd.corpus.columns import AS_ROWS_SAY, TOO_LONG, TextColumns, column_value, row_notes, without_text
from herd.corpus.pages import PAGE_BYTES, Page

LINE_BYTES = PAGE_BYTES + (1 << 16)
_CHUNK = 1 << 20
_MOST_VALUES = 1_000_000  # lists, objects and members in a row: each takes a hundred times its length in memory
_FIELD_CHARACTERS = 8_192
_LINE = re.compile(rb"\S[^\n]*")
_NEXT_ROW = re.compile(r"(?:\}\s*,?\s*|\n)(?=\{)")


def row_page(
    row: dict[str, Any], identity: str, source: str, columns: TextColumns = AS_ROWS_SAY, *, left_out: int = 0
) -> Page:
    """A row with a text, or with a page that still has to be extracted, in the columns that `columns` names. left_out:
    columns of the table that were not read. A cell that is TOO_LONG was not read either."""
    text, html = column_value(row, columns.text), column_value(row, columns.html)
    if not isinstance(text, str) and not isinstance(html, str):
        if TOO_LONG in (text, html):
            return Page(identity, source, fault=f"longer than {PAGE_BYTES:,} bytes")
        names = None if {columns.text, columns.html} & row.keys() else row
        return Page(identity, source, fault=without_text(columns, names))
    metadata = row.get("metadata")
    details: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    body = str(text if isinstance(text, str) else html).encode("utf-8", "replace")
    if len(body) > PAGE_BYTES:
        return Page(identity, source, fault=f"longer than {PAGE_BYTES:,} bytes")
    fields = {
        "id": _field_text(column_value(row, columns.id) or identity),
        "source": _field_text((columns.source and column_value(row, columns.source)) or source),
        "url": _field_text(column_value(row, columns.url) or details.get("url")),
        "added": _field_text(column_value(row, columns.added) or row.get("date")),
    }
    for name, value in fields.items():
        if value is None:
            fault = f"its field `{getattr(columns, name)}` is no text of up to {_FIELD_CHARACTERS:,} characters"
            return Page(identity, source, fault=fault)
    text_fields = {name: str(value) for name, value in fields.items()}
    text_fields["added"] = text_fields["added"][:10]
    notes = row_notes(row, columns, left_out=left_out)
    return Page(**text_fields, body=body, charset="utf-8", html=not isinstance(text, str), notes=notes)


def _field_text(value: Any) -> str | None:
    """A field as text, empty where there is none; None for what is no field of a record but a document itself."""
    if not value:
        return ""
    if isinstance(value, list | dict) or value is TOO_LONG:
        return None
    text = str(value)
    return text if len(text) <= _FIELD_CHARACTERS else None


# ---- JSON ----


def json_pages(
    stream: Any, name: str, source: str, columns: TextColumns = AS_ROWS_SAY, *, lines: bool
) -> Iterator[Page]:
    """The rows of a stream: one a line, or for files that may be one value (`lines` off) those of a list, or values
    one behind the other."""
    if not lines:
        head = _Ahead(stream)
        if not _is_lines(head.start):
            yield from _values(head, name, source, columns)
            return
        stream = head
    for number, line in _lines(stream):
        if line is None:
            yield Page(f"{name}:{number}", source, fault=f"longer than {LINE_BYTES:,} bytes")
        else:
            yield _json_page(line, f"{name}:{number}", source, columns)


class _Ahead:
    """A stream whose first bytes have been looked at. fault: the stream's own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.start = b""
        while len(self.start) < _CHUNK and b"\n" not in self.start.lstrip() and (data := stream.read(_CHUNK)):
            self.start += data
        self._buffer = self.start

    def read(self, size: int) -> bytes:
        data, self._buffer = self._buffer, b""
        return data or self._stream.read(size)

    @property
    def fault(self) -> str:
        return getattr(self._stream, "fault", "")


def _is_lines(start: bytes) -> bool:
    """Whether the first line is a value of its own, and not a list of rows."""
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"\[\s*(?:\{|\]|$)", text):
        return False
    try:
        json.loads(text.partition(b"\n")[0])
    except (ValueError, RecursionError):
        return False
    return True


def _lines(stream: Any) -> Iterator[tuple[int, bytes | None]]:
    """Lines that are not blank, with their numbers; None for one that is too long, whose bytes are passed over. What
    stands before the place where a stream breaks off is a line if it is a whole row."""
    pending, passing, number = bytearray(), False, 1
    while data := stream.read(_CHUNK):
        cut = data.rfind(b"\n")
        if cut < 0:
            if not passing:
                pending += data
            if len(pending) > LINE_BYTES:
                pending, passing = bytearray(), True
            continue
        if passing:
            yield number, None
            number, data, passing = number + 1, data[data.find(b"\n") + 1 :], False
            cut = data.rfind(b"\n")
        block, pending = bytes(pending) + data[: cut + 1], bytearray(data[cut + 1 :])
        at = 0
        for line in _LINE.finditer(block):
            number += block.count(b"\n", at, line.start())
            yield number, line[0] if len(line[0]) <= LINE_BYTES else None
            at = line.end()
        number += block.count(b"\n", at)
    if passing:
        yield number, None
    elif pending.strip() and not (getattr(stream, "fault", "") and _parse_json(bytes(pending))[1]):
        yield number, bytes(pending)


def _parse_json(line: bytes) -> tuple[Any, str]:
    """The line's value, or why it has none."""
    if len(line) > _CHUNK and line.count(b",") + line.count(b"[") + line.count(b"{") > _MOST_VALUES:
        return None, f"a row of more than {_MOST_VALUES:,} values"
    try:
        return json.loads(line.removeprefix(b"\xef\xbb\xbf")), ""
    except (ValueError, RecursionError):
        return None, "not JSON"


def _json_page(line: bytes, identity: str, source: str, columns: TextColumns) -> Page:
    row, fault = _parse_json(line)
    if fault or not isinstance(row, dict):
        return Page(identity, source, fault=fault or "not a JSON object")
    return row_page(row, identity, source, columns)


def _values(stream: Any, name: str, source: str, columns: TextColumns) -> Iterator[Page]:
    """The rows of a list, or values one behind the other; where one is broken, reading goes on at the next."""
    number = 0
    text = _Window(stream)
    text.skip(r"\ufeff?\s*\[?\s*")
    text.skip(r"(?:\]\s*)*")  # a list of nothing
    while not text.at_end:
        number += 1
        row, fault = text.value()
        if fault and text.torn:
            return
        rows = _rows_in(row, columns)
        if rows is not None:
            for inner, inner_row in enumerate(rows, 1):
                yield row_page(inner_row, f"{name}:{number}.{inner}", source, columns)
        elif fault or not isinstance(row, dict):
            yield Page(f"{name}:{number}", source, fault=fault or "not a JSON object")
        else:
            yield row_page(row, f"{name}:{number}", source, columns)
        text.skip(r"[\s,]*")
        text.skip(r"(?:\]\s*)*")


def _values_in(text: str, start: int) -> int:
    return sum(text.count(mark, start) for mark in ",[{")


def _rows_in(row: Any, columns: TextColumns) -> list[dict[str, Any]] | None:
    """The rows of an object that says no text itself but holds one list of objects, as `{"data": [...]}`."""
    if not isinstance(row, dict) or columns.text in row or columns.html in row:
        return None
    lists = [value for value in row.values() if isinstance(value, list) and value]
    if len(lists) == 1 and all(isinstance(entry, dict) for entry in lists[0]):
        return lists[0]
    return None


class _Window:
    """The part of a stream of text that is at hand."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._decoder = stream, json.JSONDecoder()
        self._bytes, self._text, self._at, self._ended = b"", "", 0, False

    def _more(self, least: int) -> None:
        """Reads until `least` characters from here are at hand, or all."""
        pieces, num_characters = [self._text[self._at :]], len(self._text) - self._at
        while num_characters < least and not self._ended:
            data = self._stream.read(_CHUNK)
            self._ended = not data
            data = self._bytes + data
            cut = len(data) if self._ended else max(0, len(data) - 3)
            while 0 < cut < len(data) and 0x80 <= data[cut] < 0xC0:  # not inside a character
                cut -= 1
            self._bytes = data[cut:]
            pieces.append(data[:cut].decode("utf-8", "replace"))
            num_characters += len(pieces[-1])
        self._text, self._at = "".join(pieces), 0

    @property
    def at_end(self) -> bool:
        if self._at >= len(self._text):
            self._more(1)
        return self._at >= len(self._text)

    @property
    def torn(self) -> bool:
        """Whether the stream broke off and nothing is left of it."""
        return bool(getattr(self._stream, "fault", "")) and self.at_end

    def skip(self, pattern: str) -> None:
        while not self.at_end:
            match = re.compile(pattern).match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return

    def value(self) -> tuple[Any, str]:
        """The value that begins here, passed over; or a fault, and the next row is looked for."""
        while True:
            num_characters = len(self._text) - self._at
            try:
                row, self._at = self._decoder.raw_decode(self._text, self._at)
                return row, ""
            except RecursionError:
                break
            except ValueError as fault:
                place = getattr(fault, "pos", 0)
                cut = place > len(self._text) - 16 or "Unterminated" in str(fault)
                if self._ended or not cut or num_characters > LINE_BYTES:
                    break
            if num_characters > _CHUNK and _values_in(self._text, self._at) > _MOST_VALUES:
                break
            self._more(max(_CHUNK, 2 * num_characters))
        self._pass_row()
        return None, f"not JSON, or longer than {LINE_BYTES:,} bytes"

    def _pass_row(self) -> None:
        self._at += 1
        while not self.at_end:
            match = _NEXT_ROW.search(self._text, self._at)
            if match:
                self._at = match.end()
                return
            self._at = len(self._text) if self._ended else max(self._at, len(self._text) - 64)
            if not self._ended:
                self._more(len(self._text) - self._at + 1)
