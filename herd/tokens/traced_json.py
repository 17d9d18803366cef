"""JSON of traced values, whose texts stay traced."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from herd.tokens.traced import Traced, blanket, joined, origins_of

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
    wanted = json.dumps(x, **form)
    leaves: list[Traced] = []
    parts: list[str] = []
    shape, at = json.dumps(_without(x, leaves), **form), 0
    if not leaves:
        return wanted
    for place in _PLACE.finditer(shape):
        parts.append(shape[at : place.start()])
        parts.append(_text(leaves[int(place[1])], ensure_ascii) if int(place[1]) < len(leaves) else place[0])
        at = place.end()
    made = joined([*parts, shape[at:]])
    # Keys in another order, or a text that looks like a place: then all of it may be of all.
    return made if made == wanted else blanket(wanted, x)


def _without(value: Any, leaves: list[Traced]) -> Any:
    """The same value with the number of a leaf in the place of every traced text."""
    if isinstance(value, Traced):
        leaves.append(value)
        return f"~{len(leaves) - 1}~"
    if isinstance(value, Mapping):
        return {_without(key, leaves): _without(item, leaves) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(item, leaves) for item in value]
    return value


def _text(leaf: Traced, ensure_ascii: bool) -> str:
    origins = origins_of(leaf)
    if len(set(origins)) > 1:
        inner = joined(_text(letter, ensure_ascii)[1:-1] for letter in leaf)  # type: ignore[arg-type]
        return joined(('"', inner, '"'))
    inner = json.dumps(str.__str__(leaf), ensure_ascii=ensure_ascii)[1:-1]
    return joined(('"', Traced(inner, origins[:1] * len(inner)), '"'))
