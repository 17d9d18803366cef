"""The recipe of a run as a file in its folder: written, and the one of before kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def write_recipe(file: Path, values: Mapping[str, Any], text: str) -> None:
    """Writes `text`, which holds `values`. A file with other numbers is kept as FILE.1.yaml, or under the next number
    that is free, and what differs is told; comments do not count."""
    from herd.core.artifacts import atomic_write

    if file.exists() and _without_comments(file.read_text(encoding="utf-8")) != _without_comments(text):
        earlier = _free_name(file)
        for line in _differences(file, values):
            print(line)
        file.rename(earlier)
        print(f"the recipe of before is {earlier}")
    atomic_write(file, text)


def _without_comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def _free_name(file: Path) -> Path:
    """`recipe.1.yaml`, or the next number that is free."""
    number = 1
    while (name := file.with_suffix(f".{number}{file.suffix}")).exists():
        number += 1
    return name


def _differences(file: Path, values: Mapping[str, Any]) -> Iterator[str]:
    """A line for every number that is another than in the recipe of before."""
    from herd.core.settings import read_yaml

    old, new = dict(_leaves(read_yaml(file)[0])), dict(_leaves(values))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name, 'not said')} before, {new.get(name, 'not said')} now"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value
