"""How calls of tools are written in Llama 3's chat format, and read back.

Meta's code and the template in Hugging Face's repositories write a custom tool's call differently, so a form is
chosen by name. Source: llama-models, `tool_utils.py`, `chat_format.py` and `prompt_format.md` of 3.1; the chat
template of Llama 3.1 Instruct on the Hub.
"""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from herd.core.errors import DataError
from herd.core.records import Conversation, Message, ToolCall

ToolCallFormat = Literal["builtin", "json", "hugging_face", "function_tag", "python_list"]
TOOL_CALL_FORMATS: tuple[ToolCallFormat, ...] = ("builtin", "json", "hugging_face", "function_tag", "python_list")
# Whether the call follows <|python_tag|> and ends with <|eom_id|>: the turn goes on after the tool's answer.
OPENS_WITH_TAG: dict[ToolCallFormat, bool] = {
    "builtin": True,
    "json": True,
    "hugging_face": False,
    "function_tag": False,
    "python_list": False,
}
INTERPRETER = "code_interpreter"

_TAGGED = re.compile(r"<function=(?P<name>[^>}]+)>(?P<arguments>\{.*?\})(?:</function>|$)", re.DOTALL)
_BLOCK = re.compile(r"<tool_call>\s*(\{.*?\})\s*</tool_call>", re.DOTALL)
_BUILTIN = re.compile(r"^\s*(?P<name>\w+)\.call\((?P<arguments>.*)\)\s*$", re.DOTALL)
_ARGUMENT = re.compile(r'(\w+)="([^"]*)"')


def write_calls(calls: Sequence[ToolCall], call_format: ToolCallFormat) -> str:
    """The calls of one message. Raises DataError for several calls in a form that has room for one."""
    if call_format == "python_list":
        return "[" + ", ".join(_python(call) for call in calls) + "]"
    if len(calls) > 1:
        raise DataError(
            f"a message calls {len(calls)} tools; the form {call_format!r} has room for one: use 'python_list'"
        )
    call = calls[0]
    if call.name == INTERPRETER:
        return str(call.arguments["code"])
    arguments = dict(call.arguments)
    if call_format == "builtin":
        listed = ", ".join(f'{name}="{value}"' for name, value in arguments.items())
        return f"{call.name}.call({listed})"
    if call_format == "json":
        return json.dumps({"type": "function", "name": call.name, "parameters": arguments}, ensure_ascii=False)
    if call_format == "hugging_face":
        return json.dumps({"name": call.name, "parameters": arguments}, ensure_ascii=False)
    return f"<function={call.name}>{json.dumps(arguments, ensure_ascii=False)}</function>"


def read_calls(text: str, *, tagged: bool) -> tuple[ToolCall, ...]:
    """The calls in an answer, whatever their form; none where it is plain text.

    tagged: whether <|python_tag|> stood before it; then what is no call of a tool is code to run.
    """
    for read in (read_blocks, _read_tag, _read_json, _read_list, _read_builtin):
        calls = read(text)
        if calls:
            return calls
    return (ToolCall(INTERPRETER, {"code": text}),) if tagged and text.strip() else ()


def read_blocks(text: str) -> tuple[ToolCall, ...]:
    """The calls in `<tool_call>` as Hermes, Qwen and others after them write them; none where one is broken."""
    parsed = [_read_json(block) for block in _BLOCK.findall(text)]
    return tuple(itertools.chain.from_iterable(parsed)) if all(parsed) else ()


def with_definitions(
    conversation: Conversation, definitions: Sequence[Mapping[str, Any]], call_format: ToolCallFormat
) -> Conversation:
    """The conversation with the tools' JSON schemas in its first user message, as 3.1 was taught.

    Raises DataError when no user speaks, and for a form that knows no definitions.
    """
    if call_format not in ("json", "hugging_face"):
        raise DataError(f"the form {call_format!r} has no definitions of tools; choose 'json' or 'hugging_face'")
    first = next((n for n, message in enumerate(conversation.messages) if message.role == "user"), None)
    if first is None:
        raise DataError("tools are defined in the first user message, and no user speaks; add one")
    user_message = conversation.messages[first]
    listed = "".join(f"{json.dumps(definition, indent=4, ensure_ascii=False)}\n\n" for definition in definitions)
    instructions = (
        "Given the following functions, please respond with a JSON for a function call with its proper arguments "
        "that best answers the given prompt.\n\nRespond in the format {"
        + ('"type": "function", ' if call_format == "json" else "")
        + '"name": function name, "parameters": dictionary of argument name and its value}.'
        + (" " if call_format == "json" else "")
        + "Do not use variables.\n\n"
    )
    messages = list(conversation.messages)
    messages[first] = replace(user_message, content=instructions + listed + user_message.content)
    return replace(conversation, messages=tuple(messages))


def tool_answer(message: Message, call_format: ToolCallFormat) -> str:
    """What a tool answered. Hugging Face's template writes text as a JSON string, Meta's code as it is."""
    return json.dumps(message.content, ensure_ascii=False) if call_format == "hugging_face" else message.content


def _python(call: ToolCall) -> str:
    return f"{call.name}({', '.join(f'{name}={_value(value)}' for name, value in call.arguments.items())})"


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _read_tag(text: str) -> tuple[ToolCall, ...]:
    match = _TAGGED.search(text)
    if match is None:
        return ()
    arguments = _json(match["arguments"])
    return () if arguments is None else (ToolCall(match["name"], arguments),)


def _read_json(text: str) -> tuple[ToolCall, ...]:
    row = _json(text)
    if row is None or not isinstance(row.get("name"), str):
        return ()
    arguments = row.get("parameters", row.get("arguments", {}))
    return (ToolCall(row["name"], arguments),) if isinstance(arguments, dict) else ()


def _json(text: str) -> dict[str, Any] | None:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _read_list(text: str) -> tuple[ToolCall, ...]:
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        if not isinstance(tree, ast.List):
            return ()
        calls = []
        for node in tree.elts:
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
                return ()
            arguments = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords if word.arg}
            calls.append(ToolCall(node.func.id, arguments))
        return tuple(calls)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return ()


def _read_builtin(text: str) -> tuple[ToolCall, ...]:
    match = _BUILTIN.match(text)
    return () if match is None else (ToolCall(match["name"], dict(_ARGUMENT.findall(match["arguments"]))),)
