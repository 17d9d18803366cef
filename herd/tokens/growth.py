"""How large the result of a template's operation may become, told before it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_TOO_LARGE = 1 << 62
_NUMBER = re.compile(r"\d+")
_MOST_BITS = 4096
# Of JSON; what transformers' templates use is 2 or 4.
_MOST_INDENT = 64


def of_operator(operator: str, left: Any, right: Any) -> int:
    """Characters of a text, or members of a list."""
    if operator == "%" and isinstance(left, str):
        return _formatted(left, right if isinstance(right, (tuple, Mapping)) else (right,))
    if operator == "*":
        for some, times in ((left, right), (right, left)):
            if isinstance(some, (str, list, tuple)) and isinstance(times, int):
                return len(some) * max(0, times)
    if operator == "+" and all(isinstance(one, (str, list, tuple)) for one in (left, right)):
        return len(left) + len(right)
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
        return _TOO_LARGE if bits > _MOST_BITS else 0
    return 0


def of_method(name: str, owner: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Characters of what the method of a text gives back."""
    if name in ("format", "format_map"):
        return _formatted(owner, [*args, *kwargs.values()])
    numbers = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, int)]
    if name == "replace" and len(args) >= 2:
        return _replaced(owner, str(args[0]), str(args[1]))
    if name == "expandtabs":
        return len(owner) + owner.count("\t") * max(numbers, default=8)
    if name == "translate":
        longest = max((len(one) for one in _texts(args)), default=1)
        return len(owner) * max(1, longest)
    if name == "join" and args and isinstance(args[0], (list, tuple)):
        return _joined(args[0], owner)
    return max(len(owner), *numbers) if name in ("center", "ljust", "rjust", "zfill") and numbers else len(owner)


def of_filter(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Characters or members of what the filter gives back, where they may be many more than it is given."""
    values = [*args, *kwargs.values()]
    numbers = [value for value in values[1:] if isinstance(value, int)]
    first = args[0] if args else ""
    size = len(first) if isinstance(first, (str, list, tuple, dict, range)) else 0
    if name == "format":
        return _formatted(str(first), values[1:])
    if name == "replace" and len(values) >= 3:
        return _replaced(str(first), str(values[1]), str(values[2]))
    if name == "indent":
        width = max((len(one) if isinstance(one, str) else int(one) for one in values[1:]), default=4)
        return size + (str(first).count("\n") + 1) * max(0, width)
    if name == "tojson":
        indents = [len(one) if isinstance(one, str) else int(one or 0) for one in (kwargs.get("indent"), *values[1:3])]
        return _TOO_LARGE if max(indents) > _MOST_INDENT else size
    return max([size, *numbers])


def _replaced(text: str, old: str, new: str) -> int:
    return len(text) + text.count(old) * max(0, len(new) - len(old))


def _joined(parts: Sequence[Any], between: str) -> int:
    return sum(len(part) for part in parts if isinstance(part, str)) + len(between) * len(parts)


def _formatted(text: str, values: Any) -> int:
    """Every place may be as wide as all numbers together, those among the values too."""
    widths = sum(int(number) if len(number) < 19 else _TOO_LARGE for number in _NUMBER.findall(text))
    given = list(values.values()) if isinstance(values, Mapping) else list(values)
    if "*" in text or "{" in text.replace("{{", ""):
        widths += sum(abs(one) for one in given if isinstance(one, int) and not isinstance(one, bool) and abs(one) > 99)
    longest = max((len(one) for one in _texts(given)), default=0)
    return len(text) + widths + (text.count("%") + text.count("{")) * longest


def _texts(values: Any) -> list[str]:
    found, waiting = [], list(values)
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, Mapping):
            waiting.extend(one.values())
        elif isinstance(one, (list, tuple)):
            waiting.extend(one)
    return found
