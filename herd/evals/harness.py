"""Puts the items of a task to a model and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from herd.core.errors import DataError
from herd.evals.spread import Interval, wilson
from herd.evals.tasks import Item
from herd.generate.engine import Engine, SamplingParams
from herd.tokens.jinja import TemplateFormat, chat_format
from herd.tokens.tokenizer import TextTokenizer

_SAMPLES = 6
_SAMPLE_CHARACTERS = 400


@dataclass(frozen=True)
class TaskScore:
    """Right or wrong for every item, in order, and a few of the answers. run_on: the share of answers that did not come
    to an end. tokens: of an answer, the mean."""

    right: tuple[bool, ...]
    samples: tuple[dict[str, Any], ...]
    run_on: float = 0.0
    tokens: float = 0.0

    @property
    def interval(self) -> Interval:
        return wilson(sum(self.right), len(self.right))

    def to_row(self) -> dict[str, Any]:
        interval = self.interval
        return {
            "share": interval.value,
            "low": interval.low,
            "high": interval.high,
            "questions": len(self.right),
            "right": [int(one) for one in self.right],
            "run_on": self.run_on,
            "tokens": self.tokens,
            "samples": list(self.samples),
        }


def evaluate(
    engine: Engine, tokenizer: TextTokenizer, items: Sequence[Item], *, chat: bool, max_tokens: int = 64
) -> TaskScore:
    """The items answered greedily. chat: whether the model was taught a chat format, its own; one that was not
    continues the items' plain text."""
    sampling = SamplingParams(max_tokens=max_tokens)
    if chat:
        form = chat_format(tokenizer)
        asked = [item.prompt for item in items]
        if isinstance(form, TemplateFormat):  # others know no tools by name
            asked = [replace(prompt, tools=()) for prompt in asked]
        completions = engine.generate([form.prompt(prompt) for prompt in asked], sampling)
        messages = [form.read(completion.token_ids) for completion in completions]
        right = [item.answered(message) for item, message in zip(items, messages, strict=True)]
    else:
        prompts = [[*tokenizer.opening, *tokenizer.encode(item.plain)] for item in items]
        completions = engine.generate(prompts, sampling)
        texts = [tokenizer.decode(completion.token_ids) for completion in completions]
        right = [item.continued(text) for item, text in zip(items, texts, strict=True)]
    samples = tuple(
        {
            "asked": (item.prompt.last.content if chat else item.plain)[-_SAMPLE_CHARACTERS:],
            "answer": tokenizer.show(completion.token_ids)[:_SAMPLE_CHARACTERS],
            "right": ok,
        }
        for item, completion, ok in list(zip(items, completions, right, strict=True))[:_SAMPLES]
    )
    run_on = sum(not completion.stopped for completion in completions) / max(1, len(completions))
    tokens = sum(len(completion.token_ids) for completion in completions) / max(1, len(completions))
    return TaskScore(tuple(right), samples, run_on, tokens)


def gold_nll(engine: Engine, tokenizer: TextTokenizer, items: Sequence[Item]) -> float:
    """Nats of the right answer a character, the mean over the items that have one.

    It falls long before a small model gets a question right. Raises DataError when no item has a right answer in text,
    or one does not fit the model's context. Source: Llama 3, 3.2.1 (normalised by characters).
    """
    asked = [item for item in items if item.gold]
    if not asked:
        raise DataError("no question of this task has an answer that plain text could go on with; take another task")
    prompts = [[*tokenizer.opening, *tokenizer.encode(item.plain)] for item in asked]
    answers = [tokenizer.encode(item.gold) for item in asked]
    longest = max(len(prompt) + len(answer) for prompt, answer in zip(prompts, answers, strict=True))
    if longest > engine.model.shape.context:
        raise DataError(
            f"a question takes {longest} tokens; the model reads {engine.model.shape.context}: train on longer rows"
        )
    nats = [-one for one in engine.score(prompts, answers)]
    return sum(one / len(item.gold) for one, item in zip(nats, asked, strict=True)) / len(asked)
