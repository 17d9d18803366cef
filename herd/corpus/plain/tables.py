"""Lists and numbers that the C++ sources hold, read from there: each has its home in one place."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_SOURCES = Path(__file__).parents[1] / "native"
_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|([,{}])|(k[A-Z]\w*)|//[^\n]*')
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)


@cache
def _source(file: str) -> str:
    return (_SOURCES / file).read_text(encoding="utf-8")


def _unescaped(literal: str) -> bytes:
    def character(match: re.Match[bytes]) -> bytes:
        code = match[1]
        return bytes([int(code[1:], 16)]) if code[:1] == b"x" and len(code) == 3 else code

    return _ESCAPE.sub(character, literal.encode())


def _body(file: str, start: str, end: str) -> str:
    source = _source(file)
    begin = source.index(start) + len(start)
    return source[begin : source.index(end, begin)]


def words(file: str, table: str) -> tuple[bytes, ...]:
    """The texts of `const string_view TABLE[] = {...}`."""
    return tuple(text for text, _ in pairs(file, table))


@cache
def pairs(file: str, table: str) -> tuple[tuple[bytes, str], ...]:
    """The entries of `TABLE[] = {{"text", kName}, ...}`; no name where the table holds texts alone. Neighbours without
    a comma between them are one text, as in C++."""
    entries: list[tuple[bytes, str]] = []
    joins = False
    for match in _TOKEN.finditer(_body(file, f"{table}[] = {{", "};")):
        text, mark, name = match.groups()
        if text is not None:
            before = entries.pop()[0] if joins else b""
            entries.append((before + _unescaped(text), ""))
            joins = True
        elif name:
            entries[-1] = entries[-1][0], name[1:]
        joins = joins and not mark and not name
    return tuple(entries)


@cache
def tags(file: str, function: str) -> frozenset[str]:
    """The tags for which `FUNCTION(Tag tag)` is true or false without a further look: its cases."""
    return frozenset(re.findall(r"case k(\w+):", _body(file, f"{function}(Tag tag) {{", "default:")))


@cache
def values(file: str, enumeration: str) -> dict[str, int]:
    """The names of an enumeration and their numbers."""
    body = re.sub(r"//[^\n]*", "", _body(file, f"enum {enumeration}", "};"))
    named: dict[str, int] = {}
    for name, value in re.findall(r"k(\w+)\s*(?:=\s*(\d+))?", body[body.index("{") :]):
        named[name] = int(value) if value else max(named.values(), default=-1) + 1
    return named


@cache
def constant(file: str, name: str) -> float:
    """The value of `constexpr TYPE NAME = ...`."""
    match = re.search(rf"constexpr \w+ {name} = ([\d.']+)f?;", _source(file))
    assert match, f"{file} holds no {name}"
    return float(match[1].replace("'", ""))


def int_constant(file: str, name: str) -> int:
    return int(constant(file, name))
