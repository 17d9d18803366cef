"""Chat formats of other models, as the Jinja template their folder brings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from herd.core.errors import ArtifactError, DataError
from herd.core.records import Conversation, Message
from herd.tokens.chat import ChatFormat, Encoded
from herd.tokens.tokenizer import TextTokenizer

# Letters of a private area stand for a message's text while the template is filled in.
_FIRST_MARK = 0xF0000


class TemplateFormat:
    """Writes a conversation as a template says and reads the answer as plain text.

    The template comes from outside: it runs in Jinja's sandbox, and what looks like a control token inside a
    message stays text. Source: the `chat_template` of Hugging Face's tokenizers.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if tokenizer.template is None:
            raise ArtifactError("the model brings no chat template; it continues text and does not chat")
        self.tokenizer = tokenizer
        self._faults = TemplateError
        world = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        world.globals["raise_exception"] = _refuse
        try:
            self._template = world.from_string(tokenizer.template)
        except TemplateError as fault:
            raise ArtifactError(f"the chat template cannot be read ({fault}); fetch the model again") from None

    def prompt(self, conversation: Conversation) -> list[int]:
        """The conversation and the opening of the assistant's next message, as ids."""
        return self._encoded(conversation, opening=True).ids

    def conversation(self, conversation: Conversation) -> Encoded:
        """All of it, as training reads it. Learnt: an assistant's words and the control token that ends them."""
        return self._encoded(conversation, opening=False)

    def _encoded(self, conversation: Conversation, *, opening: bool) -> Encoded:
        messages = conversation.messages
        if conversation.tools or any(one.calls for one in messages):
            raise DataError("calls of tools are written in Llama 3's format only; leave them out for this model")
        marks = {chr(_FIRST_MARK + number): message for number, message in enumerate(messages)}
        rows = [{"role": one.role, "content": mark} for mark, one in marks.items()]
        tokenizer = self.tokenizer
        try:
            filled = self._template.render(
                messages=rows,
                add_generation_prompt=opening,
                bos_token=tokenizer.controls.begin or "",
                eos_token=tokenizer.controls.end_of_turn,
            )
        except self._faults as fault:
            raise DataError(f"the model's chat template does not take this conversation ({fault})") from None
        found, ending = Encoded([], [], []), False
        for piece in _pieces(filled, marks, tokenizer.control_tokens):
            found += self._of(piece, ending)
            # What a learnt text ends with is learnt too: the next control token, where it is one that stops.
            ending = bool(found.learn) and found.learn[-1] and not piece.control
        return found

    def _of(self, piece: _Piece, ending: bool) -> Encoded:
        if piece.control:
            token = self.tokenizer.control(piece.text)
            return Encoded([token], [ending and token in self.tokenizer.stops], [True])
        ids, spans = self.tokenizer.encode_spans(piece.text)
        inside = [
            [one for one in piece.contents if start < one[1] and max(end, start + 1) > one[0]] for start, end in spans
        ]
        learn, own = [any(one[2] for one in some) for some in inside], [bool(some) for some in inside]
        return Encoded(ids, learn, [not one for one in own])

    def read(self, ids: Sequence[int]) -> Message:
        return Message("assistant", self.tokenizer.decode(ids).strip())


Chat = ChatFormat | TemplateFormat


def chat_format(tokenizer: TextTokenizer) -> Chat:
    """How the model with this tokenizer is talked to."""
    return ChatFormat(tokenizer) if tokenizer.is_llama3 else TemplateFormat(tokenizer)


def _refuse(words: str) -> None:
    raise DataError(f"the model's chat template does not take this conversation: {words}")


@dataclass
class _Piece:
    """A control token, or text between two of them. contents: where in it messages lie, and whether each is learnt."""

    text: str = ""
    control: bool = False
    contents: list[tuple[int, int, bool]] = field(default_factory=list)


def _pieces(filled: str, marks: dict[str, Message], controls: Sequence[str]) -> Iterator[_Piece]:
    """Text between control tokens, and those tokens; only the template's own words are searched for them."""
    find = re.compile("|".join(re.escape(token) for token in controls) or r"(?!)")
    pending = _Piece()
    for part in re.split(f"([{chr(_FIRST_MARK)}-{chr(_FIRST_MARK + 0xFFFD)}])", filled):
        if part in marks:
            start, message = len(pending.text), marks[part]
            pending.text += message.content
            learnt = message.role == "assistant" and message.learn
            pending.contents.append((start, len(pending.text), learnt))
            continue
        start = 0
        for found in find.finditer(part):
            pending.text += part[start : found.start()]
            if pending.text:
                yield pending
            yield _Piece(found[0], control=True)
            pending, start = _Piece(), found.end()
        pending.text += part[start:]
    if pending.text:
        yield pending
