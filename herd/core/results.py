"""What stages found out, as typed results.

A result is a frozen dataclass that the room of its stage registers by name and version. A stage records it, the
artifact's metadata holds it as JSON under `results`, and readers ask the artifact for the type:

    @results.add(version=1)
    @dataclass(frozen=True)
    class WordCount:
        words: int

    work.record(WordCount(12))                # in the stage
    corpus.result(WordCount).words            # in whatever reads its artifact
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from herd.core.errors import ArtifactError, SettingsError
from herd.core.settings import build, refuse_unknown_fields

R = TypeVar("R")
VERSION = "version"


class ResultTypes:
    """The registered types of results."""

    def __init__(self) -> None:
        self._types: dict[str, type[Any]] = {}
        self._versions: dict[type[Any], int] = {}

    def add(self, *, version: int) -> Callable[[type[R]], type[R]]:
        """Registers a frozen dataclass under its name. version: raised whenever its fields change; what was recorded
        under another one is refused by name. Raises SettingsError for a name that is taken and for what is no frozen
        dataclass of plain values."""

        def register(kind: type[R]) -> type[R]:
            name = kind.__name__
            other = self._types.get(name)
            if other is not None and (other.__module__, other.__qualname__) != (kind.__module__, kind.__qualname__):
                raise SettingsError(
                    f"two results are called {name!r} ({other.__module__} and {kind.__module__}); rename one of them"
                )
            parameters = getattr(kind, "__dataclass_params__", None)
            if parameters is None or not parameters.frozen:
                raise SettingsError(f"{kind.__module__}.{name} is no frozen dataclass; write @dataclass(frozen=True)")
            if any(field.name == VERSION for field in dataclasses.fields(kind)):  # pyright: ignore[reportArgumentType]
                raise SettingsError(f"{kind.__module__}.{name} has a field `{VERSION}`, which is that of its type")
            refuse_unknown_fields(kind)
            self._types[name] = kind
            self._versions[kind] = version
            return kind

        return register

    def all(self) -> dict[str, type[Any]]:
        """Every registered type by name, in alphabetical order."""
        return dict(sorted(self._types.items()))

    def version(self, kind: type[Any]) -> int:
        """Raises ArtifactError for a type that is not registered."""
        if kind not in self._versions:
            raise ArtifactError(
                f"{kind.__module__}.{kind.__name__} is no registered result; write @results.add(version=1) above it"
            )
        return self._versions[kind]

    def to_row(self, result: Any) -> dict[str, Any]:
        """`result` as JSON data with the version of its type, which `from_row` reads back.

        Raises ArtifactError for a type that is not registered, and for values that are not of the types declared."""
        kind = type(result)
        version = self.version(kind)
        try:
            row = json.loads(json.dumps({VERSION: version, **dataclasses.asdict(result)}))
        except (TypeError, ValueError) as fault:
            raise ArtifactError(f"{kind.__name__} holds what JSON cannot ({fault}); record plain values") from None
        self.from_row(kind, row, "what was recorded")
        return row

    def to_rows(self, recorded: Iterable[Any]) -> dict[str, dict[str, Any]]:
        """Results by the names of their types, as metadata holds them."""
        return {type(result).__name__: self.to_row(result) for result in recorded}

    def from_row(self, kind: type[R], row: Mapping[str, Any], where: str) -> R:
        """The result that `to_row` wrote. where: it stands, for messages.

        Raises ArtifactError, naming both versions, for a row of another one, and for one that is not of the type."""
        known, version = self.version(kind), row.get(VERSION)
        if version != known:
            raise ArtifactError(
                f"{where} holds {kind.__name__} version {version} and this herd reads version {known}; "
                "make it again, or read it with the herd that made it"
            )
        try:
            return build(kind, {name: value for name, value in row.items() if name != VERSION}, where=kind.__name__)
        except SettingsError as fault:
            first, *more = str(fault).splitlines()
            rest = f" (and {len(more)} more faults)" if more else ""
            raise ArtifactError(f"{where} holds no {kind.__name__} as it is declared: {first}{rest}") from None


results = ResultTypes()
