"""How large the result of a template's operation may become, known before it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_TOO_LARGE = 1 << 62
_NUMBER = re.compile(r"\d+")
_MAX_BITS = 4096
# Of JSON; what transformers' templates use is 2 or 4.
_MAX_INDENT = 64


def of_operator(operator: str, lhs: Any, rhs: Any) -> int:
    """Characters of a text, or members of a list."""
    if operator == "%" and isinstance(lhs, str):
        return _formatted(lhs, rhs if isinstance(rhs, (tuple, Mapping)) else (rhs,))
    if operator == "*":
        for sequence, times in ((lhs, rhs), (rhs, lhs)):
            if isinstance(sequence, (str, list, tuple)) and isinstance(times, int):
                return len(sequence) * max(0, times)
    if operator == "+" and all(isinstance(operand, (str, list, tuple)) for operand in (lhs, rhs)):
        return len(lhs) + len(rhs)
    if isinstance(lhs, int) and isinstance(rhs, int):
        bits = lhs.bit_length() * abs(rhs) if operator == "**" else lhs.bit_length() + rhs.bit_length()
        return _TOO_LARGE if bits > _MAX_BITS else 0
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
        longest = max((len(text) for text in _texts(args)), default=1)
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
        width = max(
            (len(argument) if isinstance(argument, str) else int(argument) for argument in values[1:]), default=4
        )
        return size + (str(first).count("\n") + 1) * max(0, width)
    if name == "tojson":
        indents = [
            len(argument) if isinstance(argument, str) else int(argument or 0)
            for argument in (kwargs.get("indent"), *values[1:3])
        ]
        return _TOO_LARGE if max(indents) > _MAX_INDENT else size
    return max([size, *numbers])


def _replaced(text: str, old: str, new: str) -> int:
    return len(text) + text.count(old) * max(0, len(new) - len(old))


def _joined(parts: Sequence[Any], between: str) -> int:
    return sum(len(part) for part in parts if isinstance(part, str)) + len(between) * len(parts)


def _formatted(text: str, values: Any) -> int:
    """Every place may be as wide as all numbers together, those among the values too."""
    widths = sum(int(number) if len(number) < 19 else _TOO_LARGE for number in _NUMBER.findall(text))
    arguments = list(values.values()) if isinstance(values, Mapping) else list(values)
    if "*" in text or "{" in text.replace("{{", ""):
        widths += sum(
            abs(argument)
            for argument in arguments
            if isinstance(argument, int) and not isinstance(argument, bool) and abs(argument) > 99
        )
    longest = max((len(argument) for argument in _texts(arguments)), default=0)
    return len(text) + widths + (text.count("%") + text.count("{")) * longest


def _texts(values: Any) -> list[str]:
    texts, pending = [], list(values)
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, Mapping):
            pending.extend(value.values())
        elif isinstance(value, (list, tuple)):
            pending.extend(value)
    return texts
