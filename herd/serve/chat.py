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
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of

# A model that keeps calling tools is stopped after so many calls in one turn.
MOST_CALLS = 4
LONGEST_ANSWER = 256  # tokens


@dataclass
class Chat:
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
        self.text = TextTokenizer.load(self.folder)
        self.chats = kind_of(self.folder) == "chat"
        self.form = chat_format(self.text) if self.chats else None
        offered = self.form is not None and self.form.built_in_tools
        self._fresh = Conversation((), tools=self.toolbox.names if offered else ())
        self.history = self._fresh
        self._sampling = self.sampling or SamplingParams.of(self.text.generation, max_tokens=LONGEST_ANSWER)
        network = place_model(load_transformer(self.folder), self.device, self.dtype)
        self.engine = Engine(network, self.text.stops, tokenizer=self.text)

    def clear(self) -> None:
        self.history = self._fresh

    def answer(self, said: str) -> Iterator[str]:
        """The model's answer, piece by piece; calls and what the tools answered among it.

        A model that was never taught to chat continues the text instead, without memory of earlier turns.
        Raises DataError when the conversation is longer than the model reads.
        """
        if self.form is None:
            prompt = [*self.text.opening, *self.text.encode(said)]
            yield from self._words(self.engine.stream(prompt, self._sampling), [])
            return
        self.history = self.history.then(Message("user", said))
        for _ in range(MOST_CALLS):
            ids: list[int] = []
            yield from self._words(self.engine.stream(self.form.prompt(self.history), self._sampling), ids)
            message = self.form.read(ids)
            self.history = self.history.then(message)
            if not message.calls or not self.toolbox.names:  # a call that nothing here answers is what was said
                return
            result = self.toolbox.run(message.calls[0])
            self.history = self.history.then(Message("tool", result))
            yield f"\n  → {result}\n"

    def _words(self, outputs: Iterator[RequestOutput], ids: list[int]) -> Iterator[str]:
        """Text as soon as it is whole: a letter may take several ids. ids: takes those of the answer."""
        shown = ""
        for output in outputs:
            ids[:] = output.outputs[0].token_ids
            text = self.text.show(ids).replace(PYTHON_TAG, "")
            if not text.endswith("\N{REPLACEMENT CHARACTER}"):
                yield text[len(shown) :]
                shown = text


def talk(chat: Chat, read: Callable[[], str], write: Callable[[str], None]) -> None:
    """Turn after turn until the input ends; `/clear` starts anew and `/exit` ends."""
    while True:
        try:
            said = read().strip()
        except EOFError:
            return
        if said == "/exit":
            return
        if said == "/clear":
            chat.clear()
        elif said:
            for piece in chat.answer(said):
                write(piece)
            write("\n")
