"""The records that travel between stages: documents, conversations, preferences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from herd.core.errors import DataError

Role = Literal["system", "user", "assistant", "tool"]
Strength = Literal["significantly better", "better", "slightly better", "marginally better"]

ROLES: tuple[Role, ...] = get_args(Role)
STRENGTHS: tuple[Strength, ...] = get_args(Strength)  # strongest first, as in Llama 3, 4.2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text and where it came from; on disk a Parquet row with Dolma's column names.

    added: the day it was fetched, `YYYY-MM-DD` or empty. notes: anything else a step found out.
    """

    id: str
    text: str
    source: str
    url: str = ""
    added: str = ""
    language: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hash_fraction(self) -> float:
        """A number from 0 to 1 that the id alone decides: the same on every machine and in any order."""
        return int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:8], "big") / 2**64


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of the tool `name` with keyword arguments."""

    name: str
    arguments: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash((self.name, json.dumps(self.arguments, sort_keys=True, default=str)))

    def to_row(self) -> dict[str, Any]:
        return {"type": "function", "function": {"name": self.name, "arguments": dict(self.arguments)}}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ToolCall:
        """OpenAI's form, whose arguments are JSON in a text, TRL's, where they are an object, or the function alone.

        Raises DataError for arguments that are neither.
        """
        called = row.get("function", row)
        name, arguments = called["name"], called["arguments"]
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError:
                raise DataError(f"the arguments of a call of {name!r} are no JSON: {arguments[:60]!r}") from None
        if not isinstance(arguments, Mapping):
            raise DataError(f"the arguments of a call of {name!r} are a {type(arguments).__name__}, not an object")
        return cls(name, arguments)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `train` says whether training may learn from it; only assistant turns ever are. `reasoning_content`:
    what was thought before the answer, for chat templates that write it."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    train: bool = True
    reasoning_content: str = ""

    def to_row(self) -> dict[str, Any]:
        """The OpenAI and TRL form: role, content and, where there are calls, tool_calls."""
        row: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            row["tool_calls"] = [call.to_row() for call in self.tool_calls]
        if self.reasoning_content:
            row["reasoning_content"] = self.reasoning_content
        if not self.train:
            row["train"] = False
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Message:
        """Raises DataError when the role is unknown or the content is no text."""
        if row.get("role") not in ROLES:
            raise DataError(f"message with role {row.get('role')!r}; valid: {', '.join(ROLES)}")
        texts = [text if (text := row.get(name)) is not None else "" for name in ("content", "reasoning_content")]
        for text in texts:
            if not isinstance(text, str):
                raise DataError(f"message content is a {type(text).__name__}; herd reads text only")
        calls = tuple(map(ToolCall.from_row, row.get("tool_calls") or ()))
        return cls(row["role"], texts[0], calls, row.get("train", True), texts[1])


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order. tools: names of built-in tools that the assistant may call. definitions: JSON schemas of other
    tools, as OpenAI has them. On disk both stand in the column `tools`. metadata: plain JSON data that a grader needs,
    such as unit tests or a reference; no model reads it, and stages hand it on."""

    messages: tuple[Message, ...]
    id: str = ""
    source: str = ""
    tools: tuple[str, ...] = ()
    definitions: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def last(self) -> Message:
        return self.messages[-1]

    def with_messages(self, *messages: Message) -> Conversation:
        return replace(self, messages=self.messages + messages)

    def to_row(self) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": self.id,
            "source": self.source,
            "tools": [*self.tools, *self.definitions],
            "messages": [message.to_row() for message in self.messages],
        }
        if self.metadata:
            row["metadata"] = dict(self.metadata)
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Conversation:
        messages = tuple(Message.from_row(message) for message in row["messages"])
        tools = row.get("tools") or ()
        return cls(
            messages,
            row.get("id", ""),
            row.get("source", ""),
            tuple(tool for tool in tools if isinstance(tool, str)),
            tuple(tool for tool in tools if not isinstance(tool, str)),
            row.get("metadata") or {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """One prompt and its ranked answers: edited (where there is one) > chosen > rejected.

    margin: by how much a better answer must be ahead, where somebody said. Source: Llama 3, 4.2.1. On disk the columns
    are TRL's: prompt, chosen, rejected, margin.
    """

    prompt: Conversation
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    edited: tuple[Message, ...] = ()
    strength: Strength = "better"
    margin: float | None = None

    @property
    def ranked_answers(self) -> tuple[tuple[Message, ...], ...]:
        """The answers, best first."""
        return tuple(answer for answer in (self.edited, self.chosen, self.rejected) if answer)

    def to_row(self) -> dict[str, Any]:
        row = self.prompt.to_row()
        row["prompt"] = row.pop("messages")
        row["chosen"] = [message.to_row() for message in self.chosen]
        row["rejected"] = [message.to_row() for message in self.rejected]
        row["strength"] = self.strength
        if self.edited:
            row["edited"] = [message.to_row() for message in self.edited]
        if self.margin is not None:
            row["margin"] = self.margin
        return row

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Preference:
        def answer(column: str) -> tuple[Message, ...]:
            return tuple(Message.from_row(message) for message in row.get(column) or ())

        prompt = Conversation.from_row({**row, "messages": row["prompt"]})
        return cls(
            prompt=prompt,
            chosen=answer("chosen"),
            rejected=answer("rejected"),
            edited=answer("edited"),
            strength=row.get("strength", "better"),
            margin=row.get("margin"),
        )
