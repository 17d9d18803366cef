"""Values written in JavaScript, as BFCL reads them.

Source: js_type_converter.py of berkeley-function-call-leaderboard: a value that is not written as its type wants stays
text, and is compared as such.
"""

from __future__ import annotations

import re
from typing import Any

JAVASCRIPT_TYPES: dict[str, type] = {
    "String": str,
    "integer": int,
    "float": float,
    "Bigint": int,
    "Boolean": bool,
    "dict": dict,
    "array": list,
    "any": str,
}
# A longer value stays text: its patterns would take seconds.
MAX_VALUE_CHARACTERS = 4096
_ONE_DEEP = re.compile(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)")
_PAIRS = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")


def javascript_value(text: str, kind: str, item_kind: str | None = None) -> Any:
    """The value of type `kind` (of a list: of `item_kind`), or the text where it is not written as one."""
    if len(text) > MAX_VALUE_CHARACTERS:
        return text
    match kind:
        case "integer":
            return int(text) if re.match(r"^-?\d+$", text) else text
        case "float":
            return float(text) if re.match(r"^-?\d+(\.\d+)?$", text) else text
        case "Bigint":
            return int(text.rstrip("\n")[:-1]) if re.match(r"^-?\d+n$", text) else text
        case "Boolean":
            return {"true": True, "false": False}.get(text, text)
        case "String":
            return text[1:-1] if _is_quoted(text) else text
        case "dict":
            return _read_dict(text)
        case "array":
            return _read_array(text, item_kind)
    return text


def _is_quoted(text: str) -> bool:
    return text.startswith(("'", '"')) and text.endswith(text[0])


def _read_array(text: str, item_kind: str | None = None) -> Any:
    text = text.strip()
    if rows := _rows(text):
        return [_read_inner(row, number) for number, row in enumerate(re.findall(r"\[(.*?)\]", rows))]
    if match := _ONE_DEEP.match(text):
        words = next((group for group in match.groups() if group is not None), "").strip()
        try:
            return [_read_item(item.strip(), item_kind) for item in words.split(",")] if words else []
        except ValueError:
            return text
    return text


def _rows(text: str) -> str:
    r"""As much of a list of lists as the pattern upstream matches, `\[\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\]` or the same in
    `new Array(...)`, found from the right in linear time; the pattern's own takes exponential time for some."""
    opened = re.match(r"\[\s*(?=\[)|new\s+Array\(\s*(?=\[)", text)
    if opened is None:
        return ""
    closing = "]" if text.startswith("[") else ")"
    ends: list[int] = [0] * (len(text) + 2)  # where a match of what may follow a row ends, from each place; 0: nowhere
    blanks = [len(text)] * (len(text) + 2)  # the next sign that is no blank
    row_ends = [0] * (len(text) + 2)  # the nearest end of a row on this line behind which all matches
    for place in range(len(text) - 1, opened.end() - 1, -1):
        sign = text[place]
        blanks[place] = blanks[place + 1] if sign.isspace() else place
        row_ends[place] = 0 if sign == "\n" else row_ends[place + 1]
        if sign == "]" and ends[blanks[place + 1]]:
            row_ends[place] = place
        if sign == "," and text.startswith("[", inner := blanks[place + 1]) and (row := row_ends[inner + 1]):
            ends[place] = ends[blanks[row + 1]]
        if sign == closing and not ends[place]:
            ends[place] = place + 1
    row = row_ends[opened.end() + 1]
    return text[: ends[blanks[row + 1]]] if row else ""


def _read_inner(row: str, number: int) -> list[Any]:
    row = row.strip()
    if number == 0 and row.startswith("["):
        row = row[1:]
    return [_guess(item.strip()) for item in row.split(",")]


def _read_item(item: str, item_kind: str | None) -> Any:
    if not item_kind:
        return _guess(item)
    if item_kind not in JAVASCRIPT_TYPES:
        raise ValueError(item_kind)
    return javascript_value(item, item_kind, "String" if item.startswith(("'", '"')) else None)


def _read_dict(text: str) -> Any:
    text = text.strip()
    if text == "{}":
        return {}
    match = re.match(r"\{(.*?)\}", text)
    if match is None:
        return text
    entries: dict[str, Any] = {}
    for key, words in _PAIRS.findall(match[1]):
        value = words.strip()
        if value.startswith("[") and value.endswith("]"):
            entry = _read_array(value)
        elif value.startswith("{") and value.endswith("}"):
            entry = _read_dict(value)
        else:
            entry = _guess(value.strip("'\""))
        entries[key.strip().strip("'\"")] = entry
    return entries


def _guess(text: str) -> Any:
    """A value of whatever type it looks like."""
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    if _is_quoted(text):
        return text[1:-1]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
