"""Calls of functions out of the text that a model wrote: Python's, Java's and JavaScript's call syntax, and JSON.

Nothing that is read is ever run. Each call becomes `{function: {argument: value}}`, as BFCL has it.

Source: model_handler/utils.py and parser/ of berkeley-function-call-leaderboard (bfcl-eval 2026.3.23).
"""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from herd.judge.code_calls import java_calls, javascript_calls

CallFormat = Literal["python", "java", "javascript", "json", "llama3_json"]
# A longer text is no list of calls; Python's parser would take gigabytes for some.
MAX_CALL_CHARACTERS = 100_000
MAX_VALUE_ITEMS = 100_000
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}


class NoCallError(ValueError):
    """The text is no list of calls."""


def decode_calls(text: str, form: CallFormat = "python") -> Any:
    """The calls in a text: a list, but for forms of upstream's that give something else where there is no call.

    Raises NoCallError where it cannot be read as calls.
    """
    if len(text) > MAX_CALL_CHARACTERS:
        raise NoCallError(f"{len(text)} characters are no list of calls")
    try:
        if form == "llama3_json":
            return _llama3_calls(text)
        if form == "json":
            return _json_calls(text)
        bracketed = _bracketed(text)
        if form == "python":
            calls = python_calls(bracketed)
            repr(calls)  # a number of more digits than Python writes is none that is compared
            return calls
        return (java_calls if form == "java" else javascript_calls)(bracketed[1:-1])
    except (AttributeError, KeyError, TypeError, ValueError, SyntaxError, ArithmeticError, MemoryError) as fault:
        raise NoCallError(str(fault)) from fault
    except RecursionError as fault:
        raise NoCallError("it is nested too deeply") from fault


def _bracketed(text: str) -> str:
    """Without fences around it, and in the brackets of a list."""
    text = text.strip("`\n ")
    text = text if text.startswith("[") else f"[{text}"
    return text if text.endswith("]") else f"{text}]"


def python_calls(text: str) -> list[dict[str, dict[Any, Any]]]:
    """Of a call or a list of calls in Python's syntax."""
    body = ast.parse(text.strip().strip("'"), mode="eval").body
    if isinstance(body, ast.Call):
        return [_call(body)]
    if not isinstance(body, ast.List | ast.Tuple | ast.Set) or not all(isinstance(e, ast.Call) for e in body.elts):
        raise NoCallError("it has something beside calls")
    return [_call(element) for element in body.elts if isinstance(element, ast.Call)]


def _call(node: ast.Call) -> dict[str, dict[Any, Any]]:
    """Arguments without a name are left out, as upstream has it."""
    names: list[str] = []
    function: ast.expr = node.func
    while isinstance(function, ast.Attribute):
        names.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        names.append(function.id)
    return {".".join(reversed(names)): {keyword.arg: _value(keyword.value) for keyword in node.keywords}}


def _value(node: ast.expr | None) -> Any:
    match node:
        case ast.Constant(value=value):
            return "..." if value is Ellipsis else value
        case ast.UnaryOp(operand=ast.Constant(value=value)):
            return -value  # whatever the sign is, as upstream has it  # type: ignore[operator]
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.Dict(keys=keys, values=values):
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True)}
        case ast.BinOp():
            return _arithmetic(node)
        case ast.Name(id=name):
            return name
        case ast.Call(keywords=[]):
            return ast.unparse(node)
        case ast.Call():
            return _call(node)
        case ast.Subscript(value=value, slice=index):
            return f"{ast.unparse(value)}[{ast.unparse(index)}]"
    raise NoCallError(f"{type(node).__name__} is no value")


def _arithmetic(node: ast.expr) -> Any:
    """The result of sums of literals.

    Differs: upstream hands such text to `eval`. Here only numbers, texts and lists are summed, of a size that is
    bounded; with anything else the text is no call.
    """
    match node:
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            first, second = _arithmetic(left), _arithmetic(right)
            _check_size(op, first, second)
            return _OPERATORS[type(op)](first, second)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_arithmetic(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return +_arithmetic(operand)
        case ast.Constant() | ast.List() | ast.Tuple():
            return ast.literal_eval(node)
    raise NoCallError(f"{type(node).__name__} is not computed")


def _check_size(op: ast.operator, first: Any, second: Any) -> None:
    if isinstance(op, ast.Pow):
        if abs(first) > 10**6 or abs(second) > 64:
            raise NoCallError("a power is too large to compute")
    elif isinstance(op, ast.Mod) and isinstance(first, str):
        raise NoCallError("a text is not formatted")
    elif isinstance(op, ast.Mult):
        items = [len(side) for side in (first, second) if isinstance(side, str | list | tuple | bytes)]
        times = [abs(side) for side in (first, second) if isinstance(side, int | float)]
        if (items and times and items[0] * times[0] > MAX_VALUE_ITEMS) or any(side > 10**300 for side in times):
            raise NoCallError("a product is too large to compute")


def _json_calls(text: str) -> list[dict[str, Any]]:
    """Of a JSON list of `{"function": name, "parameters": arguments}`; nothing where it is no JSON."""
    start, end = text.find("["), text.rfind("]")
    try:
        rows = json.loads(text[start : end + 1] if 0 <= start < end else text)
    except ValueError:
        return []
    return [{row["function"]: row["parameters"]} for row in rows if isinstance(row, dict)]


def _llama3_calls(text: str) -> list[dict[str, Any]]:
    """Of Llama 3.1's own form, `{"name": ..., "parameters": {...}}`, several parted by `;`.

    Source: llama_3_1.py of berkeley-function-call-leaderboard. Differs: a `;` within a text parts nothing.
    """
    rows, remaining = [], text.replace("<|python_tag|>", "").strip()
    while remaining:
        row, end = json.JSONDecoder().raw_decode(remaining)
        rows += row if isinstance(row, list) else [row]
        remaining = remaining[end:].strip()
        if remaining and not remaining.startswith(";"):
            raise NoCallError("something follows a call")
        remaining = remaining[1:].strip()
    if not all(isinstance(row, dict) for row in rows):
        raise NoCallError("a call is no object")
    return [{row["name"]: row["parameters"] if "parameters" in row else row["arguments"]} for row in rows]


def are_calls(decoded: Any) -> bool:
    """Whether what was decoded is a list of calls, each of one function with its arguments; also of none."""
    return isinstance(decoded, list) and all(
        isinstance(call, dict) and len(call) == 1 and isinstance(next(iter(call.values())), dict) for call in decoded
    )


def looks_like_a_call(text: str, functions: Sequence[str]) -> bool:
    """Whether somebody meant to call a function here, though it may be damaged: a function that is offered is named
    before a bracket or as the value of a JSON key, or the text begins as a list of calls or with a mark for tools."""
    begun = text.strip("`\n ")
    if re.match(
        r"(\[\s*)?[A-Za-z_][\w.]*\(|<tool_call>|<function=|<\|python_tag\|>|\[?\s*\{\s*\"(name|function)\"", begun
    ):
        return True
    names = [re.escape(name) for name in functions]
    if not names:
        return False
    return re.search(rf"(?<![\w.])({'|'.join(names)})\s*\(|:\s*[\"']({'|'.join(names)})[\"']", text) is not None
