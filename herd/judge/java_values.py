"""Values written in Java, as BFCL reads them.

Source: java_type_converter.py of berkeley-function-call-leaderboard: a value that is not written as its type wants
stays text, and is compared as such.
"""

from __future__ import annotations

import re
from typing import Any

JAVA_TYPES: dict[str, type] = {
    "byte": int,
    "short": int,
    "integer": int,
    "float": float,
    "double": float,
    "long": int,
    "boolean": bool,
    "char": str,
    "Array": list,
    "ArrayList": list,
    "Set": set,
    "HashMap": dict,
    "Hashtable": dict,
    "Queue": list,
    "Stack": list,
    "String": str,
    "any": str,
}
# A longer value stays text: its patterns would take seconds.
_MAX_CHARACTERS = 4096
_INTEGER, _LONG = re.compile(r"^-?\d+$"), re.compile(r"^-?\d+[lL]$")
_DOUBLE = re.compile(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$")
_FLOAT = re.compile(r"^-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]$")
_AS_LIST = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)")
_ADDS = re.compile(r"new\s+ArrayList<\w*>\(\)\s*\{\{")
_EMPTY_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{(.*?)\}")
_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?", re.DOTALL)
_EMPTY_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)")
_PUTS = re.compile(r"put\(\"(.*?)\",\s*(.*?)\)")


def java_value(text: str, kind: str, item_kind: str | None = None) -> Any:
    """The value of type `kind` (of a list: of `item_kind`), or the text where it is not written as one.

    Differs: a Set, Hashtable, Queue or Stack stays text; upstream raises, and no row has one.
    """
    if len(text) > _MAX_CHARACTERS:
        return text
    match kind:
        case "byte" | "short" | "integer":
            return int(text) if _INTEGER.match(text) else text
        case "long":
            return int(text.rstrip("\n")[:-1]) if _LONG.match(text) else text
        case "double":
            return float(text) if _DOUBLE.match(text) else text
        case "float":
            return float(text.rstrip("\n")[:-1]) if _FLOAT.match(text) else text
        case "boolean":
            return {"true": True, "false": False}.get(text, text)
        case "ArrayList":
            return _read_list(text, item_kind)
        case "Array":
            match = _ARRAY.search(text)
            items = [item.strip() for item in match[1].split(",") if item.strip()] if match else []
            return [_read_item(item, item_kind) for item in items] if match else text
        case "HashMap":
            return _read_map(text)
    return text


def _read_item(item: str, item_kind: str | None) -> Any:
    return java_value(item, item_kind) if item_kind else _guess(item)


def _read_list(text: str, item_kind: str | None) -> Any:
    if match := _AS_LIST.search(text):
        items = match[1].split(",")
    elif (match := _ADDS.search(text)) and (end := text.find("}}", match.end())) > match.end():
        items = re.findall(r"add\((.+?)\)", text[match.end() : end].strip())
    else:
        return [] if _EMPTY_LIST.search(text) else text
    if item_kind in ("char", "String"):
        return [item.strip()[1:-1] for item in items]
    return [_read_item(item.strip(), item_kind) for item in items]


def _read_map(text: str) -> Any:
    if (match := _MAP.search(text)) and (end := text.find("}", match.end())) >= 0:
        return {key: _guess(value.strip()) for key, value in _PUTS.findall(text[match.end() : end].strip())}
    return {} if _EMPTY_MAP.search(text) else text


def _guess(text: str) -> Any:
    """A value of whatever type it looks like."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if _LONG.match(text):
        return int(text[:-1])
    if _FLOAT.match(text):
        return float(text[:-1])
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
