"""Of a recipe's text what a rehearsal of it reads: some files of each source, and no mix of sources without any."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import fields, is_dataclass, replace
from typing import Any

from herd.corpus.sources import find_files


def some_files(source: str, patterns: tuple[str, ...], most: int) -> tuple[str, ...]:
    """Files of a source, evenly drawn from all in their order, that hold no more than `most` bytes together, one at
    least; the patterns themselves where all hold no more, or lie at addresses, whose sizes are not asked for."""
    if not patterns or any("://" in pattern for pattern in patterns):
        return patterns
    paths = find_files(patterns, source=source)
    sizes = [os.path.getsize(path) for path in paths]
    if sum(sizes) <= most:
        return patterns
    count = max(1, int(len(paths) * most / sum(sizes)))
    while True:
        drawn = [number * len(paths) // count for number in range(count)]
        if count == 1 or sum(sizes[number] for number in drawn) <= most:
            return tuple(paths[number] for number in drawn)
        count -= 1


def over_sources(value: Any, present: Collection[str]) -> Any:
    """`value` whose mixes and lists of sources name only those that are there."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(over_sources(part, present) for part in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changes: dict[str, Any] = {}
    for field in fields(value):
        part = getattr(value, field.name)
        if field.name == "mixture_weights" and part is not None:
            own = {source: share for source, share in part.items() if source in present}
            whole = sum(own.values())
            even = dict.fromkeys(sorted(present), 1 / len(present))
            changes[field.name] = {source: share / whole for source, share in own.items()} if whole else even
        elif field.name in ("text_sources", "needle_sources") and part:
            changes[field.name] = tuple(source for source in part if source in present) or (min(present),)
        elif field.init:
            changes[field.name] = over_sources(part, present)
    return replace(value, **changes)
