"""Chat formats of other models, as the Jinja template their folder brings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from herd.core.errors import ArtifactError, DataError, HerdError, SettingsError
from herd.core.records import Conversation, Message
from herd.tokens.added import TextEncoding
from herd.tokens.chat import PYTHON_TAG, EncodedConversation, Llama3ChatTemplate
from herd.tokens.loss_mask import LossMask, Opening, Sources
from herd.tokens.special_tokens import DEFAULT, LLAMA3, TOOL_USE
from herd.tokens.template import CHAT_TEMPLATE, TEMPLATES
from herd.tokens.tokenizer import TextTokenizer
from herd.tokens.tools import read_blocks, read_calls
from herd.tokens.traced import is_unsure, origins_of, source_of

# What a template may do: so many operations, and more for every message and character it is given.
_STEPS, _STEPS_A_MESSAGE, _STEPS_A_CHARACTER = 500_000, 2_000, 20
# How long a text it may make, and how much longer for every character it is given.
_CHARACTERS, _CHARACTERS_A_CHARACTER = 200_000, 16
_LONGEST_TEMPLATE = 1_000_000


class JinjaChatTemplate:
    """Writes a conversation as a template says and reads the answer as text, or as the calls of tools in it.

    The ids are those of transformers' `apply_chat_template`, but that what looks like a control token inside a message
    stays text. The template comes from outside: it runs in a sandbox, within bounds of work and of output. Source: the
    `chat_template` of Hugging Face's tokenizers.
    """

    built_in_tools = False  # whether tools may be named without a definition

    def __init__(self, tokenizer: TextTokenizer) -> None:
        from herd.tokens.template_sandbox import Environment

        if tokenizer.template is None:
            raise ArtifactError("the model brings no chat template; it continues text and does not chat")
        self.tokenizer = tokenizer
        self._environment = Environment()
        self._texts = {DEFAULT: tokenizer.template} | tokenizer.other_templates
        self._templates = {name: self._compiled(text) for name, text in self._texts.items()}
        self._stops = tuple(tokenizer.show([token]) for token in tokenizer.stop_token_ids)
        self._names = {name: token for name, token in tokenizer.special_tokens.names.items() if token}

    def _compiled(self, text: str) -> Any:
        if len(text) > _LONGEST_TEMPLATE:
            raise ArtifactError(f"the chat template has {len(text):,} characters, which is no template; mend the model")
        try:
            return self._environment.from_string(text)
        except (RecursionError, MemoryError):
            raise ArtifactError("the chat template is nested too deeply to be read; use another template") from None
        except Exception as fault:  # what Python says of the code that Jinja makes of it is of many classes
            raise ArtifactError(f"the chat template cannot be read ({fault}); fetch the model again") from None

    def encode_prompt(self, conversation: Conversation) -> list[int]:
        """The conversation and the opening of the assistant's next message, as ids."""
        self._check_tools(conversation)
        return self._read(self._filled(conversation, opening=True), conversation).ids

    def encode(self, conversation: Conversation) -> EncodedConversation:
        """All of it, as training reads it. Learnt: all that an assistant writes when it is asked by `encode_prompt`, to
        the control token that ends its turn, and what the template marks as generated."""
        self._check_tools(conversation)
        filled = self._filled(conversation, opening=False)
        loss_mask = LossMask(conversation, filled)
        for number, message in enumerate(conversation.messages):
            if message.tool_calls and not loss_mask.has_calls(number):
                raise DataError("the model's chat template leaves out a call of a tool; leave calls out for this model")
            if message.tool_calls or loss_mask.has_thoughts(number):
                loss_mask.add_turn(number, self._turn(conversation, number, filled, loss_mask))
            elif message.role == "assistant" and (opening := self._opening) is not None:
                loss_mask.add_lead(number, opening)
        return loss_mask.encode(self._read(filled, conversation), self.tokenizer.stop_token_ids)

    @cached_property
    def _opening(self) -> Opening | None:
        """How an answer is asked for; None for a template that takes no user's message alone."""
        question = Conversation((Message("user", "x"),))
        try:
            closed, opened = (self._filled(question, opening=opening) for opening in (False, True))
        except HerdError:
            return None
        words = [place for place, origin in enumerate(origins_of(opened)) if source_of(origin) is not None]
        if not words:
            return None
        return Opening(opened[len(_shared(opened, closed)) :], str.__str__(opened)[words[-1] + 1 :])

    def _name(self, conversation: Conversation) -> str:
        return TOOL_USE if conversation.definitions and TOOL_USE in self._templates else DEFAULT

    def _filled(self, conversation: Conversation, *, opening: bool) -> str:
        """What the template makes of the messages; every character tells where it comes from."""
        from herd.tokens.template_sandbox import Budget

        sources = Sources(conversation)
        budget = Budget(
            _STEPS + _STEPS_A_MESSAGE * len(conversation.messages) + _STEPS_A_CHARACTER * sources.size,
            _CHARACTERS + _CHARACTERS_A_CHARACTER * sources.size,
        )
        values = {
            "messages": sources.rows,
            "tools": sources.tools or None,
            "documents": None,
            "add_generation_prompt": opening,
            **self._names,
        }
        try:
            return self._environment.fill(self._templates[self._name(conversation)], values, budget)
        except HerdError:
            raise
        except RecursionError:
            raise ArtifactError("the model's chat template is no good: it calls itself without end") from None
        except Exception as fault:  # templates are programs; they fail in every way that programs do
            raise DataError(f"the model's chat template does not take this conversation ({fault})") from None

    def _check_tools(self, conversation: Conversation) -> None:
        """Raises DataError for tools that the template has no place for."""
        if conversation.tools:
            named = ", ".join(conversation.tools)
            raise DataError(f"{named}: built into Llama 3 only; give this model definitions of its tools")
        template = self._texts[self._name(conversation)]
        calls = any(message.tool_calls for message in conversation.messages)
        for content, name in ((conversation.definitions, "tools"), (calls, "tool_calls")):
            if content and name not in template:
                raise DataError("the model's chat template has no place for tools; leave them out for this model")

    def _read(self, filled: str, conversation: Conversation) -> TextEncoding:
        """Ids of what the template wrote: control tokens are those that it wrote itself."""
        vocabulary, text, origins = self.tokenizer.control_reader, str.__str__(filled), origins_of(filled)
        read = vocabulary.read(text)
        clashes = [
            core
            for span, control in zip(read.offsets, read.control_mask, strict=True)
            if control and origins[slice(*(core := _core(text, span)))].strip("\0\2")
        ]
        if not clashes:
            return read
        texts = Sources(conversation).texts
        places = []
        for start, end in _own_runs(origins):
            for first, last in vocabulary.find_controls(text[start:end]):
                place = (start + first, start + last)
                if any(map(is_unsure, origins[slice(*place)])) and _touches(text[slice(*place)], texts):
                    raise DataError(
                        f"a message spells out {text[slice(*place)]} and the model's chat template changes its text in "
                        "a way that herd does not follow; take the token out of the message"
                    )
                places.append(place)
        return vocabulary.write(text, places)

    def _turn(self, conversation: Conversation, number: int, filled: str, loss_mask: LossMask) -> tuple[int, int]:
        """From where to where in `filled` the assistant writes message `number`, which calls tools or thinks: between
        the opening of its turn and what ends it. Raises DataError when that cannot be known."""
        first, last = loss_mask.extent(number)
        before = replace(conversation, messages=conversation.messages[:number])
        start = self._start(before, filled, first)
        end = loss_mask.stop_after(first, self._stops)
        if end is None or loss_mask.has_other_messages(number, first, end):
            # It ends with no token that stops: as far as the same is written when nothing follows.
            after = replace(conversation, messages=conversation.messages[: number + 1])
            end = len(_shared(filled, self._filled(after, opening=False).rstrip()))
        # Some templates name the tool once more before its answer.
        if (
            not 0 <= start <= first < end
            or (end < last and loss_mask.has_other_messages(number, end, last))
            or loss_mask.has_other_messages(number, start, end)
        ):
            raise DataError(
                "the model's chat template writes earlier turns anew beside a call or a thought; leave those out"
            )
        return start, end

    def _start(self, before: Conversation, filled: str, first: int) -> int:
        """Where the assistant begins to write after `before`; -1 where that cannot be known."""
        if not before.messages:
            return 0
        opened, closed = self._filled(before, opening=True), self._filled(before, opening=False)
        if filled.startswith(closed) and len(shared := _shared(filled, opened)) >= len(closed):
            return len(shared)  # short of what it would be told to think, where the turn was written without
        opening = opened[len(_shared(opened, closed)) :]
        return filled.rfind(opening, 0, first) + len(opening) if opening and opening in filled[:first] else -1

    def parse_message(self, ids: Sequence[int]) -> Message:
        """The assistant's message that a model wrote as `ids`; what is no call is plain content."""
        template = "".join(self._texts.values())
        body = [token for token in ids if token not in self.tokenizer.stop_token_ids]
        if "<tool_call>" in template:
            # Which may be control tokens, that decoding leaves out.
            full_text = self.tokenizer.show(body)
            if calls := read_blocks(full_text):
                return Message("assistant", full_text.partition("<tool_call>")[0].strip(), calls)
        elif PYTHON_TAG in self.tokenizer.control_tokens and "tool_calls" in template:
            tagged = bool(body) and self.tokenizer.show(body[:1]) == PYTHON_TAG
            text = self.tokenizer.decode(body[1:] if tagged else body)
            if calls := read_calls(text, tagged=tagged):
                return Message("assistant", "", calls)
        return Message("assistant", self.tokenizer.decode(body).strip())


ChatTemplate = Llama3ChatTemplate | JinjaChatTemplate


def chat_template_of(tokenizer: TextTokenizer) -> ChatTemplate:
    """How the model with this tokenizer is talked to: the one place where a chat format is made."""
    return Llama3ChatTemplate(tokenizer) if tokenizer.is_llama3 else JinjaChatTemplate(tokenizer)


def with_chat_template(tokenizer: TextTokenizer, name: str) -> TextTokenizer:
    """The tokenizer with another chat template, for a model that brings none: answers then end with what the template
    writes after them.

    name: of a packaged template, or a Jinja file. Raises SettingsError when there is none of that name, and
    ArtifactError when its control tokens are not in the vocabulary, or it ends answers with none.
    """
    if name not in TEMPLATES and not Path(name).is_file():
        raise SettingsError(f"chat_template {name!r} is no file; name one, or one of {', '.join(sorted(TEMPLATES))}")
    template = TEMPLATES[name] if name in TEMPLATES else Path(name).read_text(encoding="utf-8")
    if template == CHAT_TEMPLATE:
        return tokenizer.with_template(LLAMA3, template)
    candidate = tokenizer.with_template(tokenizer.special_tokens, template)
    example = Conversation((Message("user", "Hello"), Message("assistant", "Hi")))
    ids = JinjaChatTemplate(candidate).encode(example).ids
    controls = {tokenizer.control(token) for token in tokenizer.control_tokens}
    words = [place for place, token in enumerate(ids) if token not in controls and candidate.show([token]).strip()]
    ending = next((token for token in ids[max(words, default=0) + 1 :] if token in controls), None)
    if ending is None:
        raise ArtifactError(
            f"the chat template {name} writes {candidate.show(ids)!r}, whose answer ends with no control token of this "
            "model's vocabulary; name a template whose tokens it has"
        )
    turn, previous = tokenizer.show([ending]), tokenizer.special_tokens
    named = dict(previous.named) | {"eos_token": turn}
    stops = tuple(dict.fromkeys((turn, *previous.stops)))
    return tokenizer.with_template(replace(previous, eot=turn, stops=stops, named=tuple(named.items())), template)


def _core(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """The span without the blanks that a control token may take along."""
    part = text[span[0] : span[1]]
    start = span[0] + len(part) - len(part.lstrip())
    return start, start + len(part.strip())


def _own_runs(origins: str) -> Iterator[tuple[int, int]]:
    """Runs of what the template wrote itself, or may have."""
    start = None
    for place, origin in enumerate(origins):
        own = source_of(origin) is None or is_unsure(origin)
        if own and start is None:
            start = place
        if not own and start is not None:
            yield start, place
            start = None
    if start is not None:
        yield start, len(origins)


def _touches(token: str, texts: Sequence[str]) -> bool:
    """Whether one of the texts may have had a part in spelling out `token`."""
    return any(text and (token[:2] in text or token[-2:] in text or text.strip() in token) for text in texts)


def _shared(first: str, second: str) -> str:
    size = next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    return first[:size]
