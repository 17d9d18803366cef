"""A conversation with a model in the terminal, word by word, with its tools at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from herd.core.records import Conversation, Message
from herd.generate.engine import Engine, Sampling
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.chat import PYTHON_TAG
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer
from herd.train.checkpoint import kind_of
from herd.world import tools
from herd.world.facts import People

# A model that keeps calling tools is stopped after so many calls in one turn.
MOST_CALLS = 4
LONG_ANSWERS = Sampling(max_tokens=256)


@dataclass
class Chat:
    """One conversation. people: whom the look-up tool knows; None leaves only the calculator."""

    folder: Path
    people: People | None = None
    sampling: Sampling = LONG_ANSWERS
    history: Conversation = field(default=Conversation(()))
    device: str = "auto"
    dtype: str = "fp32"

    def __post_init__(self) -> None:
        self.text = TextTokenizer.load(self.folder)
        # Tools are told to a model in Llama 3's format; another's template may have no place for them.
        self._fresh = Conversation((), tools=tools.NAMES if self.text.is_llama3 else ())
        self.history = self._fresh
        self.chats = kind_of(self.folder) == "chat"
        self.form = chat_format(self.text) if self.chats else None
        self.engine = Engine(place_model(load_transformer(self.folder), self.device, self.dtype), self.text.stops)

    def clear(self) -> None:
        self.history = self._fresh

    def answer(self, said: str) -> Iterator[str]:
        """The model's answer, piece by piece; calls and what the tools answered among it.

        A model that was never taught to chat continues the text instead, without memory of earlier turns.
        Raises DataError when the conversation is longer than the model reads.
        """
        if self.form is None:
            yield from self._words(self.engine.stream([*self.text.opening, *self.text.encode(said)], self.sampling), [])
            return
        self.history = self.history.then(Message("user", said))
        for _ in range(MOST_CALLS):
            ids: list[int] = []
            yield from self._words(self.engine.stream(self.form.prompt(self.history), self.sampling), ids)
            message = self.form.read(ids)
            self.history = self.history.then(message)
            if not message.calls:
                return
            result = tools.run(message.calls[0], self.people)
            self.history = self.history.then(Message("tool", result))
            yield f"\n  → {result}\n"

    def _words(self, ids: Iterator[int], kept: list[int]) -> Iterator[str]:
        """Text as soon as it is whole: a letter may take several ids."""
        shown = ""
        for token in ids:
            kept.append(token)
            text = self.text.show(kept).replace(PYTHON_TAG, "")
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
