"""Chat formats of other models, as the Jinja template their folder brings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from herd.core.errors import ArtifactError, DataError
from herd.core.records import Conversation, Message
from herd.tokens.chat import ChatFormat, Encoded
from herd.tokens.tokenizer import TextTokenizer
from herd.tokens.tools import read_blocks

# Letters of a private area stand for a message's text while the template is filled in.
_FIRST_MARK = 0xF0000
_GENERATION = re.compile(r"(\{%[-+]?)\s*(end)?generation\s*([-+]?%\})")


class TemplateFormat:
    """Writes a conversation as a template says and reads the answer as text, or as the calls of tools in it.

    The template comes from outside: it runs in Jinja's sandbox, and what looks like a control token inside a
    message stays text. Source: the `chat_template` of Hugging Face's tokenizers.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if tokenizer.template is None:
            raise ArtifactError("the model brings no chat template; it continues text and does not chat")
        self.tokenizer = tokenizer
        self._stops = tuple(tokenizer.show([token]) for token in tokenizer.stops)
        self._faults = TemplateError
        world = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        world.globals["raise_exception"] = _refuse
        world.filters["tojson"] = _to_json
        try:
            # What `generation` encloses is told from the rest here without its help.
            self._template = world.from_string(_GENERATION.sub(_always, tokenizer.template))
        except TemplateError as fault:
            raise ArtifactError(f"the chat template cannot be read ({fault}); fetch the model again") from None

    def prompt(self, conversation: Conversation) -> list[int]:
        """The conversation and the opening of the assistant's next message, as ids."""
        return self._encoded(conversation, opening=True).ids

    def conversation(self, conversation: Conversation) -> Encoded:
        """All of it, as training reads it. Learnt: an assistant's words and calls, and the control token that ends
        them."""
        return self._encoded(conversation, opening=False)

    def _encoded(self, conversation: Conversation, *, opening: bool) -> Encoded:
        self._check_tools(conversation)
        filled = self._filled(conversation, opening=opening)
        marks = {chr(_FIRST_MARK + number): message for number, message in enumerate(conversation.messages)}
        found, ending = Encoded([], [], []), False
        calls = tuple(self._calls(conversation, filled))
        for piece in _pieces(filled, marks, calls, self.tokenizer.control_tokens):
            found += self._of(piece, ending)
            # What a learnt text ends with is learnt too: the next control token, where it is one that stops.
            ending = bool(found.learn) and found.learn[-1] and not (piece.control and piece.text in self._stops)
        return found

    def _filled(self, conversation: Conversation, *, opening: bool) -> str:
        """What the template makes of the messages, with a mark where each one's text belongs."""
        rows: list[dict[str, Any]] = []
        for number, message in enumerate(conversation.messages):
            # Templates ask whether there is a text at all.
            row: dict[str, Any] = {
                "role": message.role,
                "content": chr(_FIRST_MARK + number) if message.content else "",
            }
            if message.calls:
                row["tool_calls"] = [call.to_row() for call in message.calls]
            rows.append(row)
        try:
            return self._template.render(
                messages=rows,
                tools=[dict(one) for one in conversation.definitions] or None,
                add_generation_prompt=opening,
                bos_token=self.tokenizer.controls.begin or "",
                eos_token=self.tokenizer.controls.end_of_turn,
            )
        except self._faults as fault:
            raise DataError(f"the model's chat template does not take this conversation ({fault})") from None

    def _check_tools(self, conversation: Conversation) -> None:
        """Raises DataError for tools that the template has no place for, or whose words would be control tokens: these
        a template writes among its own."""
        template = self.tokenizer.template or ""
        if conversation.tools:
            named = ", ".join(conversation.tools)
            raise DataError(f"{named}: built into Llama 3 only; give this model definitions of its tools")
        calls = [call for message in conversation.messages for call in message.calls]
        if not calls and not conversation.definitions:
            return
        for given, name in ((conversation.definitions, "tools"), (calls, "tool_calls")):
            if given and name not in template:
                raise DataError("the model's chat template has no place for tools; leave them out for this model")
        words = json.dumps([*conversation.definitions, *(call.to_row() for call in calls)], ensure_ascii=False)
        spelt = next((token for token in self.tokenizer.control_tokens if token in words), None)
        if spelt:
            raise DataError(f"a tool's definition or call spells out the control token {spelt}; mend it")

    def _calls(self, conversation: Conversation, filled: str) -> Iterator[_Span]:
        """Where in `filled` the assistant calls tools: between the opening of its turn and what ends it."""
        messages = conversation.messages
        for number, message in enumerate(messages):
            if not message.calls:
                continue
            opened = self._filled(replace(conversation, messages=messages[:number]), opening=True) if number else ""
            ends = [place for stop in self._stops if (place := filled.find(stop, len(opened))) >= 0]
            through = ""
            if not ends:
                through = self._filled(replace(conversation, messages=messages[: number + 1]), opening=False).rstrip()
            if not filled.startswith(opened) or not filled.startswith(through):
                raise DataError("the model's chat template writes earlier turns anew beside a call; leave calls out")
            yield _Span(len(opened), min(ends, default=len(through)), message.learn)

    def _of(self, piece: _Piece, ending: bool) -> Encoded:
        if piece.control:
            token = self.tokenizer.control(piece.text)
            learnt = any(one.learnt for one in piece.contents) or (ending and token in self.tokenizer.stops)
            return Encoded([token], [learnt], [not piece.contents])
        ids, spans = self.tokenizer.encode_spans(piece.text)
        inside = [
            [one for one in piece.contents if start < one.end and max(end, start + 1) > one.start]
            for start, end in spans
        ]
        learn, own = [any(one.learnt for one in some) for some in inside], [bool(some) for some in inside]
        return Encoded(ids, learn, [not one for one in own])

    def read(self, ids: Sequence[int]) -> Message:
        text = self.tokenizer.decode(ids).strip()
        if "<tool_call>" in (self.tokenizer.template or ""):
            # Which may be control tokens, that decoding leaves out.
            shown = self.tokenizer.show([token for token in ids if token not in self.tokenizer.stops])
            if calls := read_blocks(shown):
                return Message("assistant", shown.partition("<tool_call>")[0].strip(), calls)
        return Message("assistant", text)


Chat = ChatFormat | TemplateFormat


def chat_format(tokenizer: TextTokenizer) -> Chat:
    """How the model with this tokenizer is talked to."""
    return ChatFormat(tokenizer) if tokenizer.is_llama3 else TemplateFormat(tokenizer)


def _refuse(words: str) -> None:
    raise DataError(f"the model's chat template does not take this conversation: {words}")


def _always(tag: re.Match[str]) -> str:
    return f"{tag[1]} {'endif' if tag[2] else 'if true'} {tag[3]}"


def _to_json(value: Any, *, indent: int | None = None, ensure_ascii: bool = False, **others: Any) -> str:
    """As transformers has it: nothing is escaped as for web pages."""
    return json.dumps(value, indent=indent, ensure_ascii=ensure_ascii, **others)


class _Span(NamedTuple):
    """Text from `start` up to `end` that stands in a message, and whether it is learnt."""

    start: int
    end: int
    learnt: bool


@dataclass
class _Piece:
    """A control token, or text between two of them. contents: where in it messages lie."""

    text: str = ""
    control: bool = False
    contents: list[_Span] = field(default_factory=list)

    def add(self, words: str, at: int, calls: Sequence[_Span]) -> None:
        """The template's own words, which stand at `at`, and where in them tools are called."""
        for one in calls:
            start, end = max(one.start, at), min(one.end, at + len(words))
            if start < end:
                place = len(self.text) - at
                self.contents.append(_Span(start + place, end + place, one.learnt))
        self.text += words


def _pieces(
    filled: str, marks: dict[str, Message], calls: Sequence[_Span], controls: Sequence[str]
) -> Iterator[_Piece]:
    """Text between control tokens, and those tokens; only the template's own words are searched for them."""
    find = re.compile("|".join(re.escape(token) for token in controls) or r"(?!)")
    pending, at = _Piece(), 0
    for part in re.split(f"([{chr(_FIRST_MARK)}-{chr(_FIRST_MARK + 0xFFFD)}])", filled):
        if part in marks:
            start, message = len(pending.text), marks[part]
            pending.text += message.content
            learnt = message.role == "assistant" and message.learn
            pending.contents.append(_Span(start, len(pending.text), learnt))
            at += 1
            continue
        start = 0
        for found in find.finditer(part):
            pending.add(part[start : found.start()], at + start, calls)
            if pending.text:
                yield pending
            token = _Piece(control=True)
            token.add(found[0], at + found.start(), calls)
            yield token
            pending, start = _Piece(), found.end()
        pending.add(part[start:], at + start, calls)
        at += len(part)
    if pending.text:
        yield pending
