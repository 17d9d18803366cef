"""What differs between the numbers of two recipes, in lines to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from herd.core.settings import dump
from herd.core.terminal import count_of


def change_lines(before: Any, after: Any) -> Iterator[str]:
    """A line for every number that another has taken the place of: `base.tokens: 15,600,000,000,000 -> 4,681,728`."""
    yield from _changes(dump(before), dump(after), "")


def _changes(old: Any, new: Any, name: str) -> Iterator[str]:
    """The differences of two values as plain data."""
    if isinstance(old, dict) and isinstance(new, dict) and (old.keys() == new.keys() or not name):
        pairs = [(key, old.get(key), new.get(key)) for key in dict.fromkeys((*old, *new))]
    elif _has_parts(old) and _has_parts(new) and len(old) == len(new):
        pairs = [(str(number), *pair) for number, pair in enumerate(zip(old, new, strict=True))]
    else:
        if old != new:
            yield f"{name}: {_word(old)} -> {_word(new)}"
        return
    for key, was, now in pairs:
        yield from _changes(was, now, f"{name}.{key}" if name else key)


def _has_parts(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(part, dict) for part in value)


def _word(value: Any) -> str:
    if isinstance(value, dict) and any(isinstance(part, dict | list) for part in value.values()):
        return "{...}"
    if _has_parts(value) or (isinstance(value, list) and len(value) > 8):
        return count_of(len(value), "part")
    if isinstance(value, float):
        return f"{value:.3g}"
    return "none" if value is None else f"{value:,}" if type(value) is int else str(value) or "none"
