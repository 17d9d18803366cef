"""Conversations as token ids in Llama 3's chat format, and answers back from ids.

Source: Llama 3, 4.1.1; llama-models, `prompt_format.md` and `chat_format.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from herd.core.records import Conversation, Message
from herd.tokens.tokenizer import TextTokenizer
from herd.tokens.tools import (
    INTERPRETER,
    OPENS_WITH_TAG,
    ToolCallFormat,
    read_calls,
    tool_answer,
    with_definitions,
    write_calls,
)

PYTHON_TAG = "<|python_tag|>"


@dataclass(frozen=True)
class EncodedConversation:
    """A conversation as ids. loss_mask: whether a model may learn to write this token. format_mask: whether it is a
    header or an ending, which preference losses leave out."""

    ids: list[int]
    loss_mask: list[bool]
    format_mask: list[bool]

    def __add__(self, suffix: EncodedConversation) -> EncodedConversation:
        return EncodedConversation(
            self.ids + suffix.ids, self.loss_mask + suffix.loss_mask, self.format_mask + suffix.format_mask
        )

    def __len__(self) -> int:
        return len(self.ids)


class Llama3ChatTemplate:
    """Writes and reads Llama 3's chat format with one tokenizer.

    call_format: how calls of tools are written. Where a conversation defines tools of its own, which are no built-in
    ones, these are defined and called in JSON, as 3.1 was taught.
    """

    built_in_tools = True  # whether tools may be named without a definition

    def __init__(self, tokenizer: TextTokenizer, call_format: ToolCallFormat = "builtin") -> None:
        self.tokenizer = tokenizer
        self.call_format: ToolCallFormat = call_format
        self._open = tokenizer.control("<|start_header_id|>")
        self._close = tokenizer.control("<|end_header_id|>")
        self._python = tokenizer.control(PYTHON_TAG)

    def encode(self, conversation: Conversation) -> EncodedConversation:
        """All of it, as training reads it."""
        encoded = EncodedConversation([self.tokenizer.bos_id], [False], [True])
        call_format: ToolCallFormat = (
            "json" if conversation.definitions and self.call_format == "builtin" else self.call_format
        )
        for message in _with_tools(conversation, call_format):
            # What a tool is called with follows from who knows it: Llama itself, or this conversation.
            custom = any(call.name not in conversation.tools for call in message.tool_calls)
            encoded += self.encode_message(message, call_format if custom else self.call_format)
        return encoded

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        """All of it and an open header for the assistant's next message."""
        return self.encode(conversation).ids + self._header("assistant")

    def encode_message(self, message: Message, call_format: ToolCallFormat | None = None) -> EncodedConversation:
        """Header, content and ending, calls in `call_format` or in the format's own. Learnt: an assistant's content and
        ending, never a header.

        The report does not say whether the ending is learnt; without it a model never stops.
        """
        header = self._header("ipython" if message.role == "tool" else message.role)
        call_format = call_format or self.call_format
        content = self._content(message, call_format)
        continues = bool(message.tool_calls) and _tagged(message, call_format)
        ending = self.tokenizer.eom_id if continues else self.tokenizer.eot_id
        learn = message.role == "assistant" and message.train
        return EncodedConversation(
            [*header, *content, ending],
            [False] * len(header) + [learn] * (len(content) + 1),
            [True] * len(header) + [False] * len(content) + [True],
        )

    def parse_message(self, ids: Sequence[int]) -> Message:
        """The assistant's message that a model wrote as `ids`; what is no call is plain content."""
        body = [token for token in ids if token not in self.tokenizer.stop_token_ids]
        tagged = bool(body) and body[0] == self._python
        text = self.tokenizer.decode(body[1:] if tagged else body)
        # Without its tag a built-in call is talk about one; the other forms carry their own marks.
        calls = read_calls(text, tagged=tagged) if tagged or self.call_format != "builtin" else ()
        return Message("assistant", "", calls) if calls else Message("assistant", text)

    def _header(self, role: str) -> list[int]:
        return [self._open, *self.tokenizer.encode(role), self._close, *self.tokenizer.encode("\n\n")]

    def _content(self, message: Message, call_format: ToolCallFormat) -> list[int]:
        if not message.tool_calls:
            return self.tokenizer.encode(
                tool_answer(message, call_format) if message.role == "tool" else message.content
            )
        tag = [self._python] if _tagged(message, call_format) else []
        return [*tag, *self.tokenizer.encode(write_calls(message.tool_calls, call_format))]


def _tagged(message: Message, call_format: ToolCallFormat) -> bool:
    return OPENS_WITH_TAG[call_format] or message.tool_calls[0].name == INTERPRETER


def _with_tools(conversation: Conversation, call_format: ToolCallFormat) -> tuple[Message, ...]:
    """The messages, with the built-in tools named at the top of the system message, and the definitions of others at
    the top of what the user says first."""
    if not conversation.tools and not conversation.definitions:
        return conversation.messages
    opening = "Environment: ipython"
    if conversation.tools:
        opening += "\nTools: " + ", ".join(conversation.tools)
    if conversation.definitions:
        conversation = with_definitions(conversation, conversation.definitions, call_format)
    first, *following = conversation.messages
    if first.role != "system":
        return (Message("system", opening), *conversation.messages)
    return (Message("system", f"{opening}\n\n{first.content}"), *following)


def preview(tokenizer: TextTokenizer, encoded: EncodedConversation) -> str:
    """The text with what is learnt between » and «, for people who check a mask."""
    words = []
    for in_loss, alike in itertools.groupby(mask_runs(encoded), key=lambda run: run[0]):
        text = tokenizer.show(list(itertools.chain.from_iterable(ids for _, _, ids in alike)))
        words.append(f"»{text}«" if in_loss else text)
    return "".join(words)


def mask_runs(encoded: EncodedConversation) -> Iterator[tuple[bool, bool, list[int]]]:
    """Tokens side by side that are treated alike: whether they are learnt, whether they are form, and their ids. A
    character may have several tokens, so text is made of whole runs."""
    rows = zip(encoded.loss_mask, encoded.format_mask, encoded.ids, strict=True)
    for (in_loss, is_format), alike in itertools.groupby(rows, key=lambda row: row[:2]):
        yield in_loss, is_format, [token for _, _, token in alike]
