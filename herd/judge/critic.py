"""Critiques of answers, written before they are scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from herd.core.artifacts import Checkpoint
from herd.core.records import Conversation, Message, Preference
from herd.generate.engine import Engine, SamplingParams
from herd.model.collectives import SINGLE_RANK, RankGroup
from herd.model.config import read_shape
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer

ASK = Message("user", "Is this answer right? Say why.")


def with_critique(conversation: Conversation, critique: str) -> Conversation:
    """An answered conversation and what is said of the answer: what a reward model of criticized answers reads."""
    return conversation.with_messages(ASK, Message("assistant", critique))


def criticize_answers(preference: Preference, critique: Callable[[Conversation], str]) -> Preference:
    """The preference, each of its answers, best first, followed by what `critique` says of it."""

    def with_critiques(answer: tuple[Message, ...]) -> tuple[Message, ...]:
        if not answer:
            return ()
        answered = preference.prompt.with_messages(*answer)
        return with_critique(answered, critique(answered)).messages[len(preference.prompt.messages) :]

    sides = {side: with_critiques(getattr(preference, side)) for side in ("edited", "chosen", "rejected")}
    return replace(preference, **sides)


class Critic:
    """A model that was taught to criticize answers. It writes greedily, as in Ankner et al. 2024. ranks: that have the
    model too, and write a part."""

    def __init__(
        self, checkpoint: Checkpoint, device: str = "auto", dtype: str = "fp32", *, max_tokens: int = 128,
        ranks: RankGroup = SINGLE_RANK,
    ) -> None:  # fmt: skip
        self._tokenizer = TextTokenizer.load(checkpoint.path)
        self._chat_template = chat_template_of(self._tokenizer)
        network = place_model(load_transformer(checkpoint.path), device, dtype)
        self._engine = Engine(network, self._tokenizer.stop_token_ids, tokenizer=self._tokenizer, ranks=ranks)
        self._max_prompt_tokens = read_shape(checkpoint.path).max_seq_len - max_tokens
        self._sampling = SamplingParams(temperature=0.0, max_tokens=max_tokens)

    def criticize(
        self,
        conversations: Sequence[Conversation],
        *,
        workers: int = 1,
        report: Callable[[int, int], None] = lambda count, total: None,
    ) -> list[str | None]:
        """A critique of every conversation's last answer; None where it is too long to be read. Equal ones are asked
        about once."""
        prompts = [
            tuple(self._chat_template.encode_prompt(conversation.with_messages(ASK))) for conversation in conversations
        ]
        different = [ids for ids in dict.fromkeys(prompts) if len(ids) <= self._max_prompt_tokens]
        rows = [list(ids) for ids in different]
        outputs = self._engine.generate(rows, self._sampling, workers=workers, report=report)
        critiques = {
            ids: self._chat_template.parse_message(output.token_ids).content
            for ids, output in zip(different, outputs, strict=True)
        }
        return [critiques.get(ids) for ids in prompts]

    def sample(
        self,
        conversations: Sequence[Conversation],
        count: int,
        sampling: SamplingParams,
        *,
        workers: int = 1,
        report: Callable[[int, int], None] = lambda count, total: None,
    ) -> list[list[str]]:
        """`count` critiques of every conversation's last answer, drawn as `sampling` says; none where it is too long to
        be read."""
        prompts = [self._chat_template.encode_prompt(conversation.with_messages(ASK)) for conversation in conversations]
        fit = [number for number, ids in enumerate(prompts) if len(ids) <= self._max_prompt_tokens]
        params = replace(sampling, n=count, max_tokens=self._sampling.max_tokens)
        outputs = self._engine.generate([prompts[number] for number in fit], params, workers=workers, report=report)
        texts = [self._chat_template.parse_message(output.token_ids).content for output in outputs]
        critiques: list[list[str]] = [[] for _ in conversations]
        for place, number in enumerate(fit):
            critiques[number] = texts[place * count : (place + 1) * count]
        return critiques
