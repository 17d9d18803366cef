"""Chat formats of other models, as the Jinja template their folder brings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from herd.core.errors import ArtifactError, DataError
from herd.core.records import Conversation, Message
from herd.tokens.chat import ChatFormat
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
        marks = {chr(_FIRST_MARK + number): message for number, message in enumerate(conversation.messages)}
        rows = [{"role": one.role, "content": mark} for mark, one in marks.items()]
        tokenizer = self.tokenizer
        try:
            filled = self._template.render(
                messages=rows,
                add_generation_prompt=True,
                bos_token=tokenizer.controls.begin or "",
                eos_token=tokenizer.controls.end_of_turn,
            )
        except self._faults as fault:
            raise DataError(f"the model's chat template does not take this conversation ({fault})") from None
        texts = {mark: message.content for mark, message in marks.items()}
        return [token for piece in _pieces(filled, texts, tokenizer.control_tokens) for token in self._encode(piece)]

    def read(self, ids: Sequence[int]) -> Message:
        return Message("assistant", self.tokenizer.decode(ids).strip())

    def _encode(self, piece: tuple[str, bool]) -> list[int]:
        text, control = piece
        return [self.tokenizer.control(text)] if control else self.tokenizer.encode(text)


def chat_format(tokenizer: TextTokenizer) -> ChatFormat | TemplateFormat:
    """How the model with this tokenizer is talked to."""
    return ChatFormat(tokenizer) if tokenizer.is_llama3 else TemplateFormat(tokenizer)


def _refuse(words: str) -> None:
    raise DataError(f"the model's chat template does not take this conversation: {words}")


def _pieces(filled: str, texts: dict[str, str], controls: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Text between control tokens, and those tokens; only the template's own words are searched for them."""
    find = re.compile("|".join(re.escape(token) for token in controls) or r"(?!)")
    pending = ""
    for part in re.split(f"([{chr(_FIRST_MARK)}-{chr(_FIRST_MARK + 0xFFFD)}])", filled):
        if part in texts:
            pending += texts[part]
            continue
        start = 0
        for found in find.finditer(part):
            pending += part[start : found.start()]
            if pending:
                yield pending, False
            yield found[0], True
            pending, start = "", found.end()
        pending += part[start:]
    if pending:
        yield pending, False
