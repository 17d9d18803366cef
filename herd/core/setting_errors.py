"""Wrong settings in sentences: where they stand, what is wrong, and what was perhaps meant."""

from __future__ import annotations

import itertools
import json
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from herd.core.errors import did_you_mean


def alternatives(kind: Any) -> typing.Iterator[Any]:
    """The types that a value of `kind` may have, with `X | None` and the like taken apart."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        for alternative in typing.get_args(kind):
            yield from alternatives(alternative)
        return
    if typing.get_origin(kind) is Annotated and len(inner := list(alternatives(typing.get_args(kind)[0]))) > 1:
        yield from inner
    yield kind


def sentences_of(errors: Sequence[Any], kind: Any, where: str, lines: Mapping[str, int]) -> str:
    """A line for each of pydantic's errors: place, field, what is wrong and the nearest valid name. where: the file or
    option the values come from. lines: line numbers by dotted field name."""
    sentences = []
    for error, place in _best_matches(errors, kind):
        field = ".".join(map(str, place))
        line = next((lines[name] for name in _prefixes(place) if name in lines), None)
        at = f"{where}, line {line}" if line else where
        sentences.append(f"{at}: {_explain(error, kind, place, field)}")
    return "\n".join(sentences)


def _best_matches(errors: Sequence[Any], kind: Any) -> list[tuple[Any, tuple[Any, ...]]]:
    """The errors with the places they are at. What may be one of several types has the errors of each: those of the
    type that came furthest are of the one that was meant."""
    found = [(error, *_place_of(error["loc"], kind)) for error in errors]
    furthest: dict[tuple[Any, ...], int] = {}
    for _, place, choice in found:
        if choice is not None:
            furthest[choice] = max(furthest.get(choice, 0), len(place))
    return [(error, place) for error, place, choice in found if choice is None or len(place) == furthest[choice]]


def _place_of(location: tuple[Any, ...], kind: Any) -> tuple[tuple[Any, ...], tuple[Any, ...] | None]:
    """Field names and list positions alone, and where the first choice between types was; None where there was none.
    pydantic names the type it tried as one more step."""
    place: list[Any] = []
    choice = None
    for step in location:
        types_here = [one for one in alternatives(kind) if one is not type(None)]
        named = [one for one in types_here if _is_name_of(step, one)]
        if len(types_here) > 1 and named:
            choice = tuple(place) if choice is None else choice
            kind = named[0]
        else:
            place.append(step)
            kind = _inner(kind, (step,))
    return tuple(place), choice


def _is_name_of(step: Any, kind: Any) -> bool:
    """Whether pydantic calls the type `kind` so: `Size`, or `tuple[MixPhase,...]`."""
    origin = typing.get_origin(kind)
    name = "literal" if origin is typing.Literal else getattr(origin or kind, "__name__", "")
    return isinstance(step, str) and bool(name) and step.partition("[")[0] == name


def _prefixes(place: tuple[Any, ...]) -> list[str]:
    return [".".join(map(str, place[:end])) for end in range(len(place), 0, -1)]


_MAX_SHOWN_CHARS = 200  # characters of a wrong value


def _explain(error: Any, kind: Any, place: tuple[Any, ...], field: str) -> str:
    problem, value = error["type"], error.get("input")
    if problem in ("unexpected_keyword_argument", "extra_forbidden"):
        valid = _field_names(_inner(kind, place[:-1]))
        return f"{field} is not a setting{did_you_mean(str(place[-1]), valid)}"
    if problem in ("missing", "missing_keyword_only_argument", "missing_argument"):
        return f"{field} is missing; give it a value"
    if problem == "value_error":
        text = str(error["ctx"]["error"])
        return f"{field}: {text}" if field else text
    expectation = re.sub(r"^Input should be (a )?(valid )?", "", error["msg"])
    excerpt = json.dumps(value, default=str)
    return (
        f"{field} is {excerpt if len(excerpt) <= _MAX_SHOWN_CHARS else excerpt[:_MAX_SHOWN_CHARS] + '...'}; it "
        f"should be {expectation}"
    )


def _inner(kind: Any, place: tuple[Any, ...]) -> Any:
    """The type found in `kind` by following a path of field names and list positions; Any where nothing is known."""
    for step in place:
        kind = next((inner for one in alternatives(kind) if (inner := _within(one, step)) is not None), Any)
    return kind


def _within(kind: Any, step: Any) -> Any:
    """The type at one field name or list position of a type that is no choice; None where it has none."""
    if typing.get_origin(kind) is Annotated:
        return _inner(typing.get_args(kind)[0], (step,))
    arguments = typing.get_args(kind)
    if isinstance(step, int):
        return arguments[0] if arguments and typing.get_origin(kind) in (tuple, list) else None
    if typing.get_origin(kind) is dict:
        return arguments[1]
    return typing.get_type_hints(kind, include_extras=True).get(step) if isinstance(kind, type) else None


def _field_names(kind: Any) -> list[str]:
    """Of the types that `kind` may be; where none has fields, of those within them, as of a list of settings."""
    holders = list(alternatives(kind))
    for level in (holders, [inner for holder in holders for inner in typing.get_args(holder)]):
        names: dict[str, None] = {}
        for holder, attribute in itertools.product(level, ("__pydantic_fields__", "model_fields")):
            names |= dict.fromkeys(getattr(holder, attribute, ()))
        if names:
            return list(names)
    return []
