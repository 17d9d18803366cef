"""Critiques of answers, written before they are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from herd.core.artifacts import Checkpoint
from herd.core.records import Conversation, Message, Preference
from herd.generate.engine import Engine, Sampling
from herd.model.config import shape_in
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_format
from herd.tokens.tokenizer import TextTokenizer

ASK = Message("user", "Is this answer right? Say why.")


def then_criticized(answered: Conversation, critique: str) -> Conversation:
    """An answered conversation and what is said of the answer: what a reward model of criticized answers reads."""
    return answered.then(ASK, Message("assistant", critique))


def criticized(preference: Preference, critique: Callable[[Conversation], str]) -> Preference:
    """The preference, each of its answers, best first, followed by what `critique` says of it."""

    def longer(answer: tuple[Message, ...]) -> tuple[Message, ...]:
        if not answer:
            return ()
        answered = preference.prompt.then(*answer)
        return then_criticized(answered, critique(answered)).messages[len(preference.prompt.messages) :]

    sides = {side: longer(getattr(preference, side)) for side in ("edited", "chosen", "rejected")}
    return replace(preference, **sides)


class Critic:
    """A model that was taught to criticize answers. It writes greedily, as in Ankner et al. 2024."""

    def __init__(
        self, checkpoint: Checkpoint, device: str = "auto", dtype: str = "fp32", *, max_tokens: int = 128
    ) -> None:
        self._text = TextTokenizer.load(checkpoint.path)
        self._form = chat_format(self._text)
        network = place_model(load_transformer(checkpoint.path), device, dtype)
        self._engine = Engine(network, self._text.stops)
        self._room = shape_in(checkpoint.path).context - max_tokens
        self._sampling = Sampling(temperature=0.0, max_tokens=max_tokens)

    def read(
        self,
        answered: Sequence[Conversation],
        *,
        workers: int = 1,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[str | None]:
        """A critique of every conversation's last answer; None where it is too long to be read. Equal ones are asked
        about once."""
        prompts = [tuple(self._form.prompt(one.then(ASK))) for one in answered]
        different = [ids for ids in dict.fromkeys(prompts) if len(ids) <= self._room]
        rows = [list(ids) for ids in different]
        made = self._engine.generate(rows, self._sampling, workers=workers, report=report)
        said = {ids: self._form.read(one.ids).content for ids, one in zip(different, made, strict=True)}
        return [said.get(ids) for ids in prompts]

    def draw(
        self,
        answered: Sequence[Conversation],
        count: int,
        sampling: Sampling,
        *,
        workers: int = 1,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[list[str]]:
        """`count` critiques of every conversation's last answer, drawn as `sampling` says; none where it is too long to
        be read."""
        prompts = [self._form.prompt(one.then(ASK)) for one in answered]
        fit = [number for number, ids in enumerate(prompts) if len(ids) <= self._room]
        how = replace(sampling, max_tokens=self._sampling.max_tokens)
        rows = [prompts[number] for number in fit for _ in range(count)]
        made = [
            self._form.read(one.ids).content for one in self._engine.generate(rows, how, workers=workers, report=report)
        ]
        found: list[list[str]] = [[] for _ in answered]
        for place, number in enumerate(fit):
            found[number] = made[place * count : (place + 1) * count]
        return found
