"""Which tokens of a filled-in chat template a model may learn to write."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any, NamedTuple

from herd.core.records import Conversation, ToolCall
from herd.tokens.added import TextEncoding
from herd.tokens.chat import EncodedConversation
from herd.tokens.traced import MIXED_SOURCE, is_generated, origins_of, source_of, trace

# The number of the source that holds the definitions of tools; those of messages follow, so many of each.
_TOOLS, _A_MESSAGE = 0, 3


def message_of(source: int | None) -> int | None:
    """The message that a source belongs to; None for what is of no message, or of several."""
    return None if source in (None, _TOOLS, MIXED_SOURCE) else (source - 1) // _A_MESSAGE


def _content_of(message: int) -> int:
    return 1 + message * _A_MESSAGE


def _calls_of(message: int) -> int:
    return _content_of(message) + 1


def _thoughts_of(message: int) -> int:
    return _content_of(message) + 2


class Sources:
    """A conversation as templates read it, whose texts tell where they come from."""

    def __init__(self, conversation: Conversation) -> None:
        self.rows: list[dict[str, Any]] = []
        for number, message in enumerate(conversation.messages):
            row: dict[str, Any] = {"role": message.role, "content": trace(message.content, _content_of(number))}
            if message.tool_calls:
                row["tool_calls"] = [_call(call, _calls_of(number)) for call in message.tool_calls]
            if message.reasoning_content:  # gpt-oss's name of it, and everybody's
                thought = trace(message.reasoning_content, _thoughts_of(number))
                row = {"thinking": thought, **row, "reasoning_content": thought}
            self.rows.append(row)
        self.tools = [trace(dict(definition), _TOOLS) for definition in conversation.definitions]

    @cached_property
    def texts(self) -> list[str]:
        """Every text in it."""
        collected: list[str] = []
        pending: list[Any] = [
            [row.get("content"), row.get("tool_calls"), row.get("reasoning_content")] for row in self.rows
        ] + [self.tools]
        while pending:
            value = pending.pop()
            if isinstance(value, str):
                collected.append(value)
            elif isinstance(value, dict):
                pending += [*value.keys(), *value.values()]
            elif isinstance(value, list):
                pending += value
        return collected

    @property
    def size(self) -> int:
        """Characters in all."""
        return sum(map(len, self.texts)) + len(json.dumps(self.tools))


def _call(call: ToolCall, source: int) -> dict[str, Any]:
    function = {"name": trace(call.name, source), "arguments": trace(dict(call.arguments), source)}
    return {"type": "function", "function": function}


class Opening(NamedTuple):
    """How a template asks for an answer. asks: what it adds to a conversation for that, nothing in some formats.
    follows: all that then stands behind the user's words."""

    asks: str
    follows: str

    def end_in(self, text: str) -> int | None:
        """Where the answer begins in what the template wrote before its words; None where the turn is opened in another
        way than an answer is asked for."""
        if self.asks:
            place = text.rfind(self.asks)
            return None if place < 0 else place + len(self.asks)
        return len(self.follows) if text.startswith(self.follows) else None


class LossMask:
    """Of every character of `filled` whether it is an assistant's own, and whether that is learnt."""

    def __init__(self, conversation: Conversation, filled: str) -> None:
        self._messages, self._filled, self._origins = conversation.messages, filled, origins_of(filled)
        kinds = {origin: message_of(source_of(origin)) for origin in set(self._origins)}
        self._of = [kinds[origin] for origin in self._origins]
        self._inside = [number is not None for number in self._of]
        self._in_loss = [number is not None and self._is_learnt(number) for number in self._of]
        for start, end in self._generated():
            within = {number for number in self._of[start:end] if number is not None}
            if within and all(map(self._is_learnt, within)):
                self._mark(start, end, in_loss=True)

    def _is_learnt(self, number: int) -> bool:
        return self._messages[number].role == "assistant" and self._messages[number].train

    def _mark(self, start: int, end: int, *, in_loss: bool) -> None:
        self._inside[start:end] = [True] * (end - start)
        self._in_loss[start:end] = [in_loss] * (end - start)

    def _generated(self) -> Iterator[tuple[int, int]]:
        """Where the template says that the assistant writes."""
        start = None
        for place, origin in enumerate((*self._origins, "\0")):
            if is_generated(origin) and start is None:
                start = place
            elif not is_generated(origin) and start is not None:
                yield start, place
                start = None

    def extent(self, number: int) -> tuple[int, int]:
        """From the first character of a message's own words and calls to behind the last; nothing where the template
        left them all out."""
        places = [place for place, of in enumerate(self._of) if of == number]
        return (places[0], places[-1] + 1) if places else (-1, -1)

    @cached_property
    def _firsts(self) -> dict[int, int]:
        """By message, where its own words and calls begin."""
        firsts: dict[int, int] = {}
        for place, number in enumerate(self._of):
            if number is not None:
                firsts.setdefault(number, place)
        return firsts

    def add_lead(self, number: int, opening: Opening) -> None:
        """What the template writes between the opening of an answer's turn and its text is the assistant's too: who is
        asked has to write it, as the empty thoughts of Qwen3 or the blank of Mistral."""
        first = self._firsts.get(number)
        if first is None:
            return
        before = first
        while before > 0 and self._of[before - 1] is None:
            before -= 1
        start = opening.end_in(self._filled[before:first])
        if start is not None and before + start < first:
            self._mark(before + start, first, in_loss=self._is_learnt(number))

    def has_calls(self, number: int) -> bool:
        """Whether something of a message's calls was written."""
        return _calls_of(number) in self._sources

    def has_thoughts(self, number: int) -> bool:
        """Whether something of what was thought before the answer was written."""
        return _thoughts_of(number) in self._sources

    @cached_property
    def _sources(self) -> frozenset[int | None]:
        return frozenset(map(source_of, set(self._origins)))

    def stop_after(self, start: int, stops: Collection[str]) -> int | None:
        """Where the template itself next writes one of these tokens."""
        places = []
        for stop in stops:
            place = self._filled.find(stop, start)
            while place >= 0 and source_of(self._origins[place]) is not None:
                place = self._filled.find(stop, place + 1)
            places += [place] if place >= 0 else []
        return min(places, default=None)

    def has_other_messages(self, number: int, start: int, end: int) -> bool:
        """Whether words of other messages stand in between."""
        return any(of not in (None, number) for of in self._of[start:end])

    def add_turn(self, number: int, span: tuple[int, int]) -> None:
        """All that stands in a turn is written by the assistant, the template's words around its calls and thoughts
        too."""
        self._mark(*span, in_loss=self._is_learnt(number))

    def encode(self, read: TextEncoding, stops: Collection[int]) -> EncodedConversation:
        """The ids with what is learnt of them. What a learnt text ends with is learnt too: the next control token,
        where it is one that stops, and the template's words before it."""
        encoded = EncodedConversation(read.ids, [], [])
        pending: list[int] | None = None  # the template's words since a learnt text
        for place, (token, (start, end)) in enumerate(zip(read.ids, read.offsets, strict=True)):
            span = slice(start, max(end, start + 1))
            in_loss, inside = any(self._in_loss[span]), any(self._inside[span])
            control = read.control_mask[place]
            encoded.loss_mask.append(in_loss)
            encoded.format_mask.append(not inside)
            if in_loss:
                pending = None if control and token in stops else []
            elif inside or pending is None:
                pending = None
            elif not control:
                pending.append(place)
            elif token in stops:
                for earlier in (*pending, place):
                    encoded.loss_mask[earlier] = True
                pending = None
            else:
                pending = None
        return encoded
