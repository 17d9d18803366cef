"""The parts that rows of others have in common: prompts, answers, turns, tools, in the forms that are in use."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from herd.core.records import STRENGTHS, Conversation, Message, Preference, ToolCall
from herd.core.rowfiles import RowError

JsonRow = Mapping[str, Any]
Turns = tuple[Message, ...]

# ShareGPT's and its kin's words for roles.
_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "ipython": "tool",
    "function": "tool",
    "developer": "system",
}
_SYSTEM = ("system", "system_prompt")  # columns
_REASONING = ("reasoning_content", "reasoning", "thinking")  # what was thought before the answer, by whose columns
_TURNS = "\n\nHuman:", "\n\nAssistant:"  # of Anthropic's transcripts


def row_conversation(row: JsonRow, number: str, messages: Sequence[Message]) -> Conversation:
    fields = {"id": str(row.get("id") or number), "source": str(row.get("source") or "")}
    extras = {"tools": list(_tools(row.get("tools"))), "metadata": _metadata(row.get("metadata")), "messages": ()}
    conversation = Conversation.from_row(fields | extras)
    return conversation.with_messages(*_system(row, messages), *messages)


def _metadata(value: Any) -> dict[str, Any]:
    """The column as JSON can hold it; what is no object, under the column's name."""
    if value is None:
        return {}
    plain = json.loads(json.dumps(value, default=str))
    return plain if isinstance(plain, dict) else {"metadata": plain}


def _system(row: JsonRow, messages: Sequence[Message]) -> Turns:
    """The system prompt of a column of its own, which opens the conversation.

    Raises RowError where the conversation opens with another one.
    """
    prompts = {text for name in _SYSTEM if isinstance(text := row.get(name), str) and text.strip()}
    if any(row.get(name) is not None and not isinstance(row[name], str) for name in _SYSTEM):
        raise RowError("broken", f"the system prompt in {' or '.join(_SYSTEM)} is no text")
    opens = messages[0].content if messages and messages[0].role == "system" else None
    if opens is not None:
        prompts.discard(opens)
    if len(prompts) > (opens is None):
        raise RowError("two system prompts", "one stands in a column and another opens the conversation")
    return tuple(Message("system", text) for text in prompts)


def _tools(tools: Any) -> Iterator[str | JsonRow]:
    """Names of built-in tools as they are, and schemas of others in OpenAI's form; some write the list as JSON."""
    if isinstance(tools, str):
        tools = json.loads(tools) if tools.strip() else ()
    for tool in tools or ():
        if isinstance(tool, str):
            yield tool
        elif isinstance(tool, Mapping) and ("function" in tool or "name" in tool):
            yield tool if "function" in tool else {"type": "function", "function": tool}
        else:
            raise RowError("broken", f"tools: {str(tool)[:60]!r} is neither a built-in tool's name nor a definition")


def row_preference(
    row: JsonRow, number: str, prompt: Sequence[Message], chosen: Sequence[Message], rejected: Sequence[Message],
    edited: Sequence[Message] = (),
) -> Preference:  # fmt: skip
    if edited == () and row.get("edited"):
        edited = answer_turns(row["edited"])
    conversation = row_conversation(row, number, prompt)
    fields: dict[str, Any] = {"strength": row["strength"]} if "strength" in row else {}
    if fields and fields["strength"] not in STRENGTHS:
        raise RowError("broken", f"strength {str(fields['strength'])[:40]!r} is none of {', '.join(STRENGTHS)}")
    if row.get("margin") is not None:
        fields["margin"] = float(row["margin"])
        if not math.isfinite(fields["margin"]):
            raise RowError("broken", f"the margin is {fields['margin']}, no number to be ahead by")
    return Preference(
        prompt=conversation, chosen=tuple(chosen), rejected=tuple(rejected), edited=tuple(edited), **fields
    )


def prompt_turns(value: Any) -> tuple[Message, ...]:
    if isinstance(value, str) and not value.startswith(_TURNS):
        return (Message("user", value),)
    turns = dialogue_turns(value)
    # A transcript that ends with who is to answer: the answer stands in a column of its own.
    opened = isinstance(value, str) and turns[-1] == Message("assistant", "")
    return turns[:-1] if opened else turns


def instruction_text(row: JsonRow) -> str:
    """Alpaca's input stands below its instruction, an empty line between."""
    parts = (row["instruction"], row.get("input") or "")
    if not all(isinstance(part, str) for part in parts):
        raise RowError("broken", "the instruction or its input is no text")
    return "\n\n".join(filter(None, parts))


def history_turns(row: JsonRow) -> Turns:
    """The turns before, of LLaMA-Factory's rows."""
    pairs = ((Message("user", user), Message("assistant", reply)) for user, reply in row.get("history") or ())
    return tuple(itertools.chain.from_iterable(pairs))


def answer_turns(value: Any) -> tuple[Message, ...]:
    if isinstance(value, str):
        return dialogue_turns(value) if value.startswith(_TURNS) else (Message("assistant", value),)
    return message_turns([value] if isinstance(value, Mapping) else value)


def dialogue_turns(value: Any) -> tuple[Message, ...]:
    """A list of turns, or a transcript that names who speaks at the beginning of every turn."""
    if not isinstance(value, str):
        return message_turns(value)
    turns, remainder = [], value
    if not remainder.startswith(_TURNS):
        raise RowError("no transcript", f"a text begins with {value[:30]!r}, not with a turn such as {_TURNS[0]!r}")
    while remainder:
        speaker = _TURNS[0] if remainder.startswith(_TURNS[0]) else _TURNS[1]
        remainder = remainder[len(speaker) :]
        ends = [place for turn in _TURNS if (place := remainder.find(turn)) >= 0]
        content, remainder = (remainder[: min(ends)], remainder[min(ends) :]) if ends else (remainder, "")
        turns.append(Message("user" if speaker == _TURNS[0] else "assistant", content.strip()))
    return tuple(turns)


def message_turns(rows: Sequence[JsonRow]) -> tuple[Message, ...]:
    return tuple(_message(row) for row in rows)


def _message(row: JsonRow) -> Message:
    if not isinstance(row, Mapping):
        raise RowError("broken", f"a turn is a {type(row).__name__}, not an object with role and content")
    if row.get("from") == "function_call":
        return Message("assistant", "", (ToolCall.from_row(json.loads(row["value"])),), _weight(row) != 0)
    role, content = (row["from"], row["value"]) if "from" in row else (row.get("role"), row.get("content"))
    role = _ROLES.get(role, role) if isinstance(role, str) else role
    calls = row.get("tool_calls") or ([row["function_call"]] if row.get("function_call") else ())
    thought = next((row[name] for name in _REASONING if row.get(name)), "")
    fields = {
        "role": role,
        "content": _text(content),
        "tool_calls": calls,
        "reasoning_content": thought,
        "train": _weight(row) != 0,
    }
    return Message.from_row(fields)


def _weight(row: JsonRow) -> int:
    """1 for what is learnt, 0 for what is not: OpenAI's `weight` and axolotl's `train` or `training`.

    Raises RowError for any other weight.
    """
    flags = [row[name] for name in ("weight", "train", "training") if row.get(name) is not None]
    if any(flag not in (0, 1) for flag in flags):
        raise RowError("a weight", f"weight {flags[0]!r}: herd learns a turn or does not; write 0 or 1")
    return int(all(flags))


def _text(content: Any) -> Any:
    """OpenAI's parts of a message, where all of them are text, as one."""
    if not isinstance(content, list):
        return content
    kinds = {part.get("type") for part in content}
    if kinds != {"text"}:
        raise RowError("not text", f"a message has parts of type {', '.join(map(str, kinds))}; herd reads text only")
    return "".join(part.get("text", part.get("value", "")) for part in content)


def check_row(read: Conversation | Preference) -> Conversation | Preference:
    if isinstance(read, Conversation):
        _check_turns(read.messages)
        return read
    for name, answer in zip(("best", "next", "last"), read.ranked_answers, strict=False):
        if not answer or not any(message.content.strip() or message.tool_calls for message in answer):
            raise RowError("empty answer", f"the {name} of the answers is empty")
        _check_turns((*read.prompt.messages, *answer))
    if len(set(read.ranked_answers)) < len(read.ranked_answers):
        raise RowError("equal answers", "two of the answers are the same, so neither is better")
    return read


def check_prompt(read: Conversation) -> Conversation:
    """The conversation, in which somebody asks something and nobody has answered it. Raises RowError."""
    spoken = _check_order(read.messages)
    if not spoken[-1].content.strip():
        raise RowError("empty prompt", "the last that the user says is empty, so there is nothing to answer")
    return read


def _check_turns(messages: Sequence[Message]) -> None:
    """As `_check_order`, and an answer last."""
    spoken = _check_order(messages)
    if spoken[-1].role != "assistant":
        raise RowError("no answer", f"the {spoken[-1].role} has the last word, so there is nothing to learn")
    if not any(message.content.strip() or message.tool_calls for message in spoken if message.role == "assistant"):
        raise RowError("empty answer", "nothing the assistant says is there")
    if not any(message.train for message in spoken if message.role == "assistant"):
        raise RowError("nothing learnt", "every turn of the assistant is marked as not to be learnt from")


def _check_order(messages: Sequence[Message]) -> list[Message]:
    """What is said but for the system's word: that first or none, then user and assistant in turn, tools after an
    assistant. Raises RowError for any other order."""
    spoken = [message for message in messages if message.role != "system"]
    if any(message.role == "system" for message in messages[1:]):
        raise RowError("ragged turns", "a system message stands after the first")
    if not spoken or spoken[0].role != "user":
        raise RowError(
            "ragged turns", f"the first to speak is the {spoken[0].role if spoken else 'system'}, not the user"
        )
    for before, after in itertools.pairwise(spoken):
        follows = {"user": ("assistant",), "assistant": ("user", "tool"), "tool": ("assistant", "tool")}
        if after.role not in follows[before.role] and not (before.role == after.role == "assistant"):
            raise RowError("ragged turns", f"the {after.role} speaks after the {before.role}")
    return spoken
