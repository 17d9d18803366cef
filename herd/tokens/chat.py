"""Conversations as token ids in Llama 3's chat format, and answers back from ids.

Source: Llama 3, 4.1.1; llama-models, `prompt_format.md` and `chat_format.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from herd.core.records import Conversation, Message, ToolCall
from herd.tokens.tokenizer import TextTokenizer

PYTHON_TAG = "<|python_tag|>"
_CALL = re.compile(r"^\s*(?P<name>\w+)\.call\((?P<arguments>.*)\)\s*$", re.DOTALL)
_ARGUMENT = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Encoded:
    """A conversation as ids. learn: whether a model may learn to write this token. format: whether it is a
    header or an ending, which preference losses leave out."""

    ids: list[int]
    learn: list[bool]
    format: list[bool]

    def __add__(self, other: Encoded) -> Encoded:
        return Encoded(self.ids + other.ids, self.learn + other.learn, self.format + other.format)

    def __len__(self) -> int:
        return len(self.ids)


class ChatFormat:
    """Writes and reads Llama 3's chat format with one tokenizer."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        self._open = tokenizer.control("<|start_header_id|>")
        self._close = tokenizer.control("<|end_header_id|>")
        self._python = tokenizer.control(PYTHON_TAG)

    def conversation(self, conversation: Conversation) -> Encoded:
        """All of it, as training reads it."""
        encoded = Encoded([self.tokenizer.begin], [False], [True])
        for message in _with_tools(conversation):
            encoded += self.message(message)
        return encoded

    def prompt(self, conversation: Conversation) -> list[int]:
        """All of it and an open header for the assistant's next message."""
        return self.conversation(conversation).ids + self._header("assistant")

    def message(self, message: Message) -> Encoded:
        """Header, content and ending. Learnt: an assistant's content and ending, never a header.

        The report does not say whether the ending is learnt; without it a model never stops.
        """
        header = self._header("ipython" if message.role == "tool" else message.role)
        content = self._content(message)
        ending = self.tokenizer.end_of_message if message.calls else self.tokenizer.end_of_turn
        learn = message.role == "assistant" and message.learn
        return Encoded(
            [*header, *content, ending],
            [False] * len(header) + [learn] * (len(content) + 1),
            [True] * len(header) + [False] * len(content) + [True],
        )

    def read(self, ids: Sequence[int]) -> Message:
        """The assistant's message that a model wrote as `ids`; what is no call is plain content."""
        body = [token for token in ids if token not in self.tokenizer.stops]
        if body and body[0] == self._python:
            call = _read_call(self.tokenizer.decode(body[1:]))
            if call is not None:
                return Message("assistant", "", (call,))
        return Message("assistant", self.tokenizer.decode(body))

    def _header(self, role: str) -> list[int]:
        return [self._open, *self.tokenizer.encode(role), self._close, *self.tokenizer.encode("\n\n")]

    def _content(self, message: Message) -> list[int]:
        if not message.calls:
            return self.tokenizer.encode(message.content)
        return [self._python, *self.tokenizer.encode(_write_call(message.calls[0]))]


def _with_tools(conversation: Conversation) -> tuple[Message, ...]:
    """The messages, with the built-in tools named at the top of the system message."""
    if not conversation.tools:
        return conversation.messages
    opening = "Environment: ipython\nTools: " + ", ".join(conversation.tools)
    first, *rest = conversation.messages
    if first.role != "system":
        return (Message("system", opening), *conversation.messages)
    return (Message("system", f"{opening}\n\n{first.content}"), *rest)


def _write_call(call: ToolCall) -> str:
    """The built-in form, `name.call(query="...")`."""
    arguments = ", ".join(f'{name}="{value}"' for name, value in call.arguments.items())
    return f"{call.name}.call({arguments})"


def _read_call(text: str) -> ToolCall | None:
    found = _CALL.match(text)
    if found is None:
        return None
    return ToolCall(found["name"], dict(_ARGUMENT.findall(found["arguments"])))


def preview(tokenizer: TextTokenizer, encoded: Encoded) -> str:
    """The text with what is learnt between » and «, for people who check a mask."""
    shown, learning = [], False
    for token, learn in zip(encoded.ids, encoded.learn, strict=True):
        if learn != learning:
            shown.append("»" if learn else "«")
            learning = learn
        shown.append(tokenizer.show([token]))
    return "".join(shown) + ("«" if learning else "")
