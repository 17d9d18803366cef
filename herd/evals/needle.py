"""The needle test: is a sentence found again, at every length and depth?

Source: Kamradt 2023 (LLMTest_NeedleInAHaystack); Llama 3, 3.4.2, which gates longer contexts by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from herd.core.records import Conversation, Message
from herd.evals.haystack import Haystack, Needle
from herd.evals.intervals import Interval, wilson
from herd.evals.results import NeedleCell
from herd.generate.engine import Engine, ProgressCallback, SamplingParams
from herd.tokens.jinja import chat_template_of
from herd.tokens.shards import TokenShards
from herd.tokens.tokenizer import TextTokenizer


@dataclass
class NeedleGrid:
    """How many needles were found, and how many asked for, by (length, depth)."""

    cells: dict[tuple[int, float], tuple[int, int]] = field(default_factory=dict)

    def add(self, haystack: Haystack, hit: bool) -> None:
        right, count = self.cells.get((haystack.length, haystack.depth), (0, 0))
        self.cells[haystack.length, haystack.depth] = (right + hit, count + 1)

    @property
    def lengths(self) -> list[int]:
        return sorted({length for length, _ in self.cells})

    def at(self, length: int) -> Interval:
        """The share found at one length, over all depths."""
        cells = [cell for (at, _), cell in self.cells.items() if at == length]
        return wilson(sum(right for right, _ in cells), sum(count for _, count in cells))

    def result(self) -> tuple[NeedleCell, ...]:
        """The cells in order, to be recorded."""
        return tuple(NeedleCell(*at, *counts) for at, counts in sorted(self.cells.items()))


def needle_test(
    engine: Engine, tokenizer: TextTokenizer, stacks: Sequence[Haystack], *, chat: bool,
    report: ProgressCallback = lambda *_: None,
) -> NeedleGrid:  # fmt: skip
    """How often `engine` finds the needle. A base model continues the needle's sentence; a chat model is
    asked for it after the text."""
    prompts = [_chat_prompt(tokenizer, stack) if chat else _plain_prompt(tokenizer, stack) for stack in stacks]
    completions = engine.generate(prompts, SamplingParams(max_tokens=32 if chat else 8), report=report)
    grid = NeedleGrid()
    for stack, completion in zip(stacks, completions, strict=True):
        grid.add(stack, is_retrieved(stack.needle, tokenizer.decode(completion.token_ids)))
    return grid


def is_retrieved(needle: Needle, answer: str) -> bool:
    """Whether `answer` begins with the needle's code, or states it in a sentence."""
    return answer.strip().startswith(needle.value) or f" is {needle.value}." in answer


def _plain_prompt(tokenizer: TextTokenizer, stack: Haystack) -> list[int]:
    return [*tokenizer.opening, *tokenizer.encode(f"{stack.text} {stack.needle.stem}")]


def _chat_prompt(tokenizer: TextTokenizer, stack: Haystack) -> list[int]:
    conversation = Conversation((Message("user", f"{stack.text} {stack.needle.question}"),))
    return chat_template_of(tokenizer).encode_prompt(conversation)


def held_out_texts(shards: TokenShards, tokenizer: TextTokenizer, sources: Sequence[str]) -> list[str]:
    """The held-out documents of these sources as text."""
    texts = []
    for source in sources:
        shard = shards.read(source, "heldout")
        texts += [tokenizer.decode(shard.document(number).tolist()) for number in range(len(shard))]
    return texts
