"""What stages found out, as typed results.

A result is a frozen dataclass that the room of its stage registers by name and version. A stage records it, the
artifact's metadata holds it as JSON under `results`, and readers ask the artifact for the type:

    @results.add(version=1)
    @dataclass(frozen=True)
    class WordCount:
        words: int

    work.record(WordCount(12))                # in the stage
    corpus.result(WordCount).words            # in whatever reads its artifact

When fields change the version rises. What finished runs hold stays readable where the type says how:

    @results.add(version=2, upgrades={1: fields_added})          # the new fields have defaults
    @results.add(version=3, upgrades={1: fields_added, 2: words_in_thousands})
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
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]  # from a row of one version to one of the next


def fields_added(row: dict[str, Any]) -> dict[str, Any]:
    """The row as it is: an upgrade to a version whose new fields, of the type or of those inside it, have defaults."""
    return row


class ResultTypes:
    """The registered types of results."""

    def __init__(self) -> None:
        self._types: dict[str, type[Any]] = {}
        self._versions: dict[type[Any], int] = {}
        self._upgrades: dict[type[Any], Mapping[int, Upgrade]] = {}

    def add(self, *, version: int, upgrades: Mapping[int, Upgrade] | None = None) -> Callable[[type[R]], type[R]]:
        """Registers a frozen dataclass under its name. version: raised whenever its fields change. upgrades: by an
        older version, what makes of its row one of the next; what was recorded under a version from which none leads
        here is refused by name. Raises SettingsError for a name that is taken, for what is no frozen dataclass of
        plain values, and for upgrades that do not lead to `version`."""
        upgrades = upgrades or {}
        if missing := sorted(set(range(min(upgrades, default=version), version)) ^ upgrades.keys()):
            raise SettingsError(
                f"upgrades to version {version} say nothing of version {missing[0]}; give one for each, up to "
                f"{version - 1}"
            )

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
            self._upgrades[kind] = upgrades
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
        """The result that `to_row` wrote, perhaps under an older version that upgrades lead from. where: it stands, for
        messages.

        Raises ArtifactError, naming both versions, for a row of another one, and for one that is not of the type."""
        known, version = self.version(kind), row.get(VERSION)
        values = {name: value for name, value in row.items() if name != VERSION}
        upgrades = self._upgrades[kind]
        while isinstance(version, int) and version in upgrades:
            try:
                values, version = upgrades[version](values), version + 1
            except (KeyError, TypeError, ValueError) as fault:
                raise ArtifactError(
                    f"{where} holds no {kind.__name__} of version {version}: {fault!r}; make it again"
                ) from None
        if version != known:
            raise ArtifactError(
                f"{where} holds {kind.__name__} version {row.get(VERSION)} and this herd reads version {known}; "
                "make it again, or read it with the herd that made it"
            )
        try:
            return build(kind, values, where=kind.__name__)
        except SettingsError as fault:
            first, *more = str(fault).splitlines()
            rest = f" (and {len(more)} more faults)" if more else ""
            raise ArtifactError(f"{where} holds no {kind.__name__} as it is declared: {first}{rest}") from None


results = ResultTypes()
