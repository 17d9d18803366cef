"""Conversations as token ids in Llama 3's chat format, and answers back from ids.

Source: Llama 3, 4.1.1; llama-models, `prompt_format.md` and `chat_format.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from herd.core.records import Conversation, Message
from herd.tokens.tokenizer import TextTokenizer
from herd.tokens.tools import INTERPRETER, OPENS_WITH_TAG, Form, read_calls, tool_answer, with_definitions, write_call

PYTHON_TAG = "<|python_tag|>"


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
    """Writes and reads Llama 3's chat format with one tokenizer.

    form: how calls of tools are written. Where a conversation defines tools of its own, which are no built-in ones,
    these are told and called in JSON, as 3.1 was taught.
    """

    built_in_tools = True  # whether tools may be named without a definition

    def __init__(self, tokenizer: TextTokenizer, form: Form = "builtin") -> None:
        self.tokenizer = tokenizer
        self.form: Form = form
        self._open = tokenizer.control("<|start_header_id|>")
        self._close = tokenizer.control("<|end_header_id|>")
        self._python = tokenizer.control(PYTHON_TAG)

    def conversation(self, conversation: Conversation) -> Encoded:
        """All of it, as training reads it."""
        encoded = Encoded([self.tokenizer.begin], [False], [True])
        form: Form = "json" if conversation.definitions and self.form == "builtin" else self.form
        for message in _with_tools(conversation, form):
            # What a tool is called with follows from who knows it: Llama itself, or this conversation.
            own = any(call.name not in conversation.tools for call in message.calls)
            encoded += self.message(message, form if own else self.form)
        return encoded

    def prompt(self, conversation: Conversation) -> list[int]:
        """All of it and an open header for the assistant's next message."""
        return self.conversation(conversation).ids + self._header("assistant")

    def message(self, message: Message, form: Form | None = None) -> Encoded:
        """Header, content and ending, calls in `form` or in the format's own. Learnt: an assistant's content and
        ending, never a header.

        The report does not say whether the ending is learnt; without it a model never stops.
        """
        header = self._header("ipython" if message.role == "tool" else message.role)
        form = form or self.form
        content = self._content(message, form)
        going_on = bool(message.calls) and _tagged(message, form)
        ending = self.tokenizer.end_of_message if going_on else self.tokenizer.end_of_turn
        learn = message.role == "assistant" and message.learn
        return Encoded(
            [*header, *content, ending],
            [False] * len(header) + [learn] * (len(content) + 1),
            [True] * len(header) + [False] * len(content) + [True],
        )

    def read(self, ids: Sequence[int]) -> Message:
        """The assistant's message that a model wrote as `ids`; what is no call is plain content."""
        body = [token for token in ids if token not in self.tokenizer.stops]
        tagged = bool(body) and body[0] == self._python
        text = self.tokenizer.decode(body[1:] if tagged else body)
        # Without its tag a built-in call is talk about one; the other forms carry their own marks.
        calls = read_calls(text, tagged=tagged) if tagged or self.form != "builtin" else ()
        return Message("assistant", "", calls) if calls else Message("assistant", text)

    def _header(self, role: str) -> list[int]:
        return [self._open, *self.tokenizer.encode(role), self._close, *self.tokenizer.encode("\n\n")]

    def _content(self, message: Message, form: Form) -> list[int]:
        if not message.calls:
            return self.tokenizer.encode(tool_answer(message, form) if message.role == "tool" else message.content)
        tag = [self._python] if _tagged(message, form) else []
        return [*tag, *self.tokenizer.encode(write_call(message.calls, form))]


def _tagged(message: Message, form: Form) -> bool:
    return OPENS_WITH_TAG[form] or message.calls[0].name == INTERPRETER


def _with_tools(conversation: Conversation, form: Form) -> tuple[Message, ...]:
    """The messages, with the built-in tools named at the top of the system message, and the definitions of others at
    the top of what the user says first."""
    if not conversation.tools and not conversation.definitions:
        return conversation.messages
    opening = "Environment: ipython"
    if conversation.tools:
        opening += "\nTools: " + ", ".join(conversation.tools)
    if conversation.definitions:
        conversation = with_definitions(conversation, conversation.definitions, form)
    first, *rest = conversation.messages
    if first.role != "system":
        return (Message("system", opening), *conversation.messages)
    return (Message("system", f"{opening}\n\n{first.content}"), *rest)


def preview(tokenizer: TextTokenizer, encoded: Encoded) -> str:
    """The text with what is learnt between » and «, for people who check a mask."""
    words = []
    for learn, alike in itertools.groupby(runs(encoded), key=lambda run: run[0]):
        text = tokenizer.show([token for _, _, ids in alike for token in ids])
        words.append(f"»{text}«" if learn else text)
    return "".join(words)


def runs(encoded: Encoded) -> Iterator[tuple[bool, bool, list[int]]]:
    """Tokens side by side that are treated alike: whether they are learnt, whether they are form, and their ids. A
    character may have several tokens, so text is made of whole runs."""
    rows = zip(encoded.learn, encoded.format, encoded.ids, strict=True)
    for (learn, kept), alike in itertools.groupby(rows, key=lambda row: row[:2]):
        yield learn, kept, [token for _, _, token in alike]
