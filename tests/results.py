"""Results made up for tests: artifacts of which only results are asked, and a value of any registered type."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from herd.core.results import results


class Made:
    """An artifact of which only its results are asked."""

    def __init__(self, *recorded: Any, key: str = "made-0") -> None:
        self.key, self.label = key, ""
        self.metadata: dict[str, Any] = {"files": {}, "inputs": {}, "stage": "made", "paper": "-", "settings": {}}
        self._recorded = {type(result): result for result in recorded}

    def get_result(self, kind: type[Any]) -> Any:
        return self._recorded.get(kind)

    def result(self, kind: type[Any]) -> Any:
        return self._recorded[kind]


def example(hint: Any, number: int = 1, pick: int = 0) -> Any:
    """A value of a type as results declare it; of a union the alternative `pick`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        names = [field.name for field in dataclasses.fields(hint)]
        return hint(**{name: example(hints[name], number + at, pick) for at, name in enumerate(names)})  # type: ignore[operator]
    if origin in (typing.Union, types.UnionType):
        return example(arguments[pick], number, pick)
    if origin is tuple:
        inner = (arguments[0],) * (1 - pick) if arguments[-1:] == (...,) else arguments
        return tuple(example(one, number + at, pick) for at, one in enumerate(inner))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {name: example(arguments[1], number + at, pick) for at, name in enumerate(("ü/c", "mean"))}
    if isinstance(hint, type) and issubclass(hint, tuple):  # a NamedTuple
        return hint(*(example(one, number, pick) for one in typing.get_type_hints(hint).values()))
    plain = {bool: number % 2 == 0, int: number, float: number + 0.125, str: f"text {number} »ß\n", type(None): None}
    return [number, {"x": None}] if hint is Any else plain[hint]


def kinds_in(module: ModuleType) -> list[type[Any]]:
    """The result types that a module registers."""
    return [kind for kind in results.all().values() if kind.__module__ == module.__name__]


def is_read_back(kind: type[Any]) -> bool:
    """Whether values of a type are the same after they were written to a card and read again."""
    made = [example(kind, number, pick) for number, pick in ((1, 0), (2, -1))]
    rows = [json.loads(json.dumps(results.to_row(result))) for result in made]
    return [results.from_row(kind, row, "a card") for row in rows] == made
