"""One call with named arguments in Java's or JavaScript's syntax, with each value as text.

Source: java_parser.py and js_parser.py of berkeley-function-call-leaderboard, which walk tree-sitter's trees. Differs:
only as much of the two languages is read as a call with named values needs; brackets and quotes have to match.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_NAME = r"[A-Za-z_$][\w$]*"
_CALL = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*\(")
_ARGUMENT = re.compile(rf"\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*=(?!=|>)\s*")
_TOKEN = re.compile(
    r"""\s+|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|[A-Za-z_$][\w$]*"""
    r"""|\d[\w.]*(?:(?<=[eE])[+-]\d+\w*)?|.""",
    re.DOTALL,
)
# What upstream's grammars take for a program without a call; of all else they say that it is none.
_JAVA_NO_CALL = re.compile(r"new\s.*\)", re.DOTALL)
_JAVASCRIPT_NO_CALL = re.compile(r"new\s.*|[\w$.]+;?|\"[^\"]*\"|'[^']*'", re.DOTALL)
_NEW_TYPE = re.compile(r"\bnew\s+[\w.$]+$")
_OPEN, _CLOSE = "([{", {")": "(", "]": "[", "}": "{"}


def java_calls(text: str) -> Any:
    """The call as a list of one; {} where there is none. Raises ValueError where it cannot be read."""
    parts = _function_and_arguments(text, _JAVA_NO_CALL)
    if parts is None:
        return {}
    function, arguments = parts
    return [{function: _named(arguments, java=True)}]


def javascript_calls(text: str) -> Any:
    """The call as a list of one; None where there is none. Raises ValueError where it cannot be read."""
    parts = _function_and_arguments(text, _JAVASCRIPT_NO_CALL)
    if parts is None:
        return None
    function, arguments = parts
    return [{function: _named(arguments, java=False)}]


def _function_and_arguments(text: str, no_call: re.Pattern[str]) -> tuple[str, list[str]] | None:
    match = _CALL.match(text)
    if match is None:
        if text.strip() and not no_call.fullmatch(text.strip()):
            raise ValueError("it is no call")
        return None
    arguments, end = _split(text, match.end())
    rest = text[end:].strip()
    if rest.startswith(",") and _balanced(rest):
        return None
    if rest not in ("", ";"):
        raise ValueError("something follows the call")
    return re.sub(r"\s+", "", match[1]), arguments


def _tokens(text: str, start: int = 0) -> Iterator[re.Match[str]]:
    """Blanks, texts in quotes, names, numbers and single signs. Raises ValueError for a quote that is never closed."""
    for match in _TOKEN.finditer(text, start):
        if match[0] in ('"', "'", "`"):
            raise ValueError("a quotation mark is never closed")
        yield match


def _balanced(text: str) -> bool:
    stack: list[str] = []
    for token in _tokens(text):
        if token[0] in _OPEN:
            stack.append(token[0])
        elif token[0] in _CLOSE and (not stack or stack.pop() != _CLOSE[token[0]]):
            return False
    return not stack


def _split(text: str, start: int, opened: str = "(") -> tuple[list[str], int]:
    """The parts from behind the opening bracket on, and where the closing one ends. A comma between angle brackets
    after a name parts types."""
    stack, parts, begin = [opened], [], start
    for token in _tokens(text, start):
        sign = token[0]
        if sign in _OPEN:
            stack.append(sign)
        elif sign in _CLOSE:
            while stack[-1] == "<":
                stack.pop()
            if stack.pop() != _CLOSE[sign]:
                raise ValueError("brackets do not match")
            if not stack:
                parts.append(text[begin : token.start()])
                return [part for part in parts if part.strip()], token.end()
        elif sign == "<" and (stack[-1] == "<" or _NEW_TYPE.search(text, max(0, token.start() - 200), token.start())):
            stack.append("<")
        elif sign == ">" and stack[-1] == "<":
            stack.pop()
        elif sign == "," and len(stack) == 1:
            parts.append(text[begin : token.start()])
            begin = token.end()
    raise ValueError("the call is never closed")


def _named(arguments: list[str], *, java: bool) -> dict[str | None, str]:
    """Values by their names. Raises ValueError for a name that comes twice, and for several bare names."""
    values: dict[str | None, str] = {}
    for argument in arguments:
        match = _ARGUMENT.match(argument)
        if match is None:
            bare = argument.strip()
            if not re.fullmatch(_NAME, bare) or (
                bare in ("true", "false", "null", "this") and (java or bare != "true")
            ):
                continue  # upstream passes over values without a name, but for bare names
            name, value = None, bare
        else:
            name, value = match[1], argument[match.end() :].strip()
            if not value:
                raise ValueError("a value is missing")
            value = _java_text(value) if java else (value[1:-1] if _is_quoted(value) else value)
        if name in values:
            raise ValueError("two arguments have the same name")
        values[name] = value
    return values


def _is_quoted(value: str) -> bool:
    return value[0] in "\"'" and value.endswith(value[0])


def _java_text(value: str) -> str:
    """As upstream writes the tree again: a single text loses its quotes, `new` makes standard blanks, the body of a
    class is dropped, and elsewhere blanks go, but within texts, names and calls."""
    words = [token[0] for token in _tokens(value) if not token[0].isspace()]
    if len(words) == 1 and words[0][0] in "\"'":
        return words[0][1:-1]
    if words[0] == "new":
        return _java_new(value)
    if _is_call_chain(value):
        return value
    return "".join(words)


def _is_call_chain(value: str) -> bool:
    """Such as `a.b(1).c(2)`, and nothing more."""
    end = 0
    while call := _CALL.match(value, end):
        end = _split(value, call.end())[1]
        if end == len(value):
            return True
        if value[end] != ".":
            return False
        end += 1
    return False


def _java_new(value: str) -> str:
    array = re.match(r"new\s+([\w.$<>,?\s]+?)\s*(?:\[\s*\]\s*)+(?=\{)", value)
    if array:
        return f"new {_joined(array[1])}[]{_java_items(value[array.end() :].strip())}"
    created = re.match(r"new\s+([\w.$]+\s*(?:<[\w.$<>,?\s\[\]]*>)?)\s*\(", value)
    if created is None:
        raise ValueError("an array without values is not read")
    arguments, _ = _split(value, created.end())
    return f"new {_joined(created[1])}({', '.join(_java_nested(part.strip()) for part in arguments)})"


def _java_items(value: str) -> str:
    """`{1, 2}`, each value as it is nested in another."""
    items, end = _split(value, 1, "{")
    if end != len(value):
        raise ValueError("something follows an array")
    return f"{{{','.join(_java_nested(item.strip()) for item in items)}}}"


def _java_nested(value: str) -> str:
    if value.startswith("{"):
        return _java_items(value)
    text = _java_text(value)
    return value if value[0] in "\"'" and text == value[1:-1] else text


def _joined(text: str) -> str:
    """Without blanks, but for those in texts."""
    return "".join(token[0] for token in _tokens(text) if not token[0].isspace())
