"""A conversation with a model in the terminal, word by word, with its tools at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from herd.core.records import Conversation, Message
from herd.generate.engine import Engine, RequestOutput, SamplingParams
from herd.generate.toolbox import NO_TOOLS, Toolbox
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.chat import PYTHON_TAG
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of

# A model that keeps calling tools is stopped after so many calls in one turn.
MAX_TOOL_CALLS = 4
MAX_ANSWER_TOKENS = 256  # tokens


@dataclass
class ChatSession:
    """One conversation; what was read of it stays in the engine's cache, so that a turn reads only what is new.

    sampling: as the model's own settings say when absent. toolbox: what the model may call.
    """

    folder: Path
    sampling: SamplingParams | None = None
    toolbox: Toolbox = NO_TOOLS
    history: Conversation = field(default=Conversation(()))
    device: str = "auto"
    dtype: str = "fp32"

    def __post_init__(self) -> None:
        self.tokenizer = TextTokenizer.load(self.folder)
        self.is_chat = kind_of(self.folder) == "chat"
        self.chat_template = chat_template_of(self.tokenizer) if self.is_chat else None
        offered = self.chat_template is not None and self.chat_template.built_in_tools
        self._empty = Conversation((), tools=self.toolbox.names if offered else ())
        self.history = self._empty
        self._sampling = self.sampling or SamplingParams.from_generation_config(
            self.tokenizer.generation, max_tokens=MAX_ANSWER_TOKENS
        )
        network = place_model(load_transformer(self.folder), self.device, self.dtype)
        self.engine = Engine(network, self.tokenizer.stop_token_ids, tokenizer=self.tokenizer)

    def clear(self) -> None:
        self.history = self._empty

    def answer(self, question: str) -> Iterator[str]:
        """The model's answer, piece by piece; calls and what the tools answered among it.

        A model that was never taught to chat continues the text instead, without memory of earlier turns.
        Raises DataError when the conversation is longer than the model reads.
        """
        if self.chat_template is None:
            prompt = [*self.tokenizer.opening, *self.tokenizer.encode(question)]
            yield from self._words(self.engine.stream(prompt, self._sampling), [])
            return
        self.history = self.history.with_messages(Message("user", question))
        for _ in range(MAX_TOOL_CALLS):
            ids: list[int] = []
            yield from self._words(
                self.engine.stream(self.chat_template.encode_prompt(self.history), self._sampling), ids
            )
            message = self.chat_template.parse_message(ids)
            self.history = self.history.with_messages(message)
            if not message.tool_calls or not self.toolbox.names:  # a call that nothing here answers is what was said
                return
            result = self.toolbox.run(message.tool_calls[0])
            self.history = self.history.with_messages(Message("tool", result))
            yield f"\n  → {result}\n"

    def _words(self, outputs: Iterator[RequestOutput], ids: list[int]) -> Iterator[str]:
        """Text as soon as it is whole: a letter may take several ids. ids: takes those of the answer."""
        printed = ""
        for output in outputs:
            ids[:] = output.outputs[0].token_ids
            text = self.tokenizer.show(ids).replace(PYTHON_TAG, "")
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):
                yield text[len(printed) :]
                printed = text


def talk(chat: ChatSession, read: Callable[[], str], write: Callable[[str], None]) -> None:
    """Turn after turn until the input ends; `/clear` starts anew and `/exit` ends."""
    while True:
        try:
            line = read().strip()
        except EOFError:
            return
        if line == "/exit":
            return
        if line == "/clear":
            chat.clear()
        elif line:
            for piece in chat.answer(line):
                write(piece)
            write("\n")
