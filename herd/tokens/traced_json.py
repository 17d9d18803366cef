"""JSON of traced values, whose texts stay traced."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from herd.tokens.traced import TracedText, join_traced, origins_of, trace_coarsely

_PLACE = re.compile(r'"~(\d+)~"')


def to_json(
    x: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: nothing is escaped as for web pages. Its names of arguments are the templates' too."""
    form: dict[str, Any] = {
        "ensure_ascii": ensure_ascii,
        "indent": indent,
        "separators": separators,
        "sort_keys": sort_keys,
    }
    plain = json.dumps(x, **form)
    leaves: list[TracedText] = []
    parts: list[str] = []
    shape, at = json.dumps(_without(x, leaves), **form), 0
    if not leaves:
        return plain
    for place in _PLACE.finditer(shape):
        parts.append(shape[at : place.start()])
        parts.append(_text(leaves[int(place[1])], ensure_ascii) if int(place[1]) < len(leaves) else place[0])
        at = place.end()
    traced = join_traced([*parts, shape[at:]])
    # Keys in another order, or a text that looks like a place: then all of it may be of all.
    return traced if traced == plain else trace_coarsely(plain, x)


def _without(value: Any, leaves: list[TracedText]) -> Any:
    """The same value with the number of a leaf in the place of every traced text."""
    if isinstance(value, TracedText):
        leaves.append(value)
        return f"~{len(leaves) - 1}~"
    if isinstance(value, Mapping):
        return {_without(key, leaves): _without(element, leaves) for key, element in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(element, leaves) for element in value]
    return value


def _text(leaf: TracedText, ensure_ascii: bool) -> str:
    origins = origins_of(leaf)
    if len(set(origins)) > 1:
        inner = join_traced(_text(letter, ensure_ascii)[1:-1] for letter in leaf)  # type: ignore[arg-type]
        return join_traced(('"', inner, '"'))
    inner = json.dumps(str.__str__(leaf), ensure_ascii=ensure_ascii)[1:-1]
    return join_traced(('"', TracedText(inner, origins[:1] * len(inner)), '"'))
