"""Models that say what a test wants them to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from herd.generate.engine import GREEDY, CompletionOutput, Engine, SamplingParams
from herd.model.collectives import SINGLE_RANK
from herd.tokens.tokenizer import TextTokenizer


class Scripted(Engine):
    """Writes what a function of the prompt's text says, and comes to an end."""

    def __init__(self, tokenizer: TextTokenizer, say: Callable[[str], str], context: int = 4096) -> None:
        self.tokenizer, self.say = tokenizer, say
        self.model = SimpleNamespace(shape=SimpleNamespace(max_seq_len=context))  # type: ignore[assignment]
        self.ranks = SINGLE_RANK
        self.asked: list[SamplingParams] = []

    def generate(self, prompts: Sequence[Sequence[int]], params: SamplingParams = GREEDY, **how: Any) -> Any:
        self.asked.append(params)
        found = []
        for prompt in prompts:
            text = self.say(self.tokenizer.decode(prompt))
            at, stop = min(((text.find(stop), stop) for stop in params.stop if stop in text), default=(None, None))
            ids = self.tokenizer.encode(text)
            done = {"finish_reason": "stop", "stop_reason": self.tokenizer.eos_id if stop is None else stop}
            found.append(CompletionOutput(0, ids, [0.0] * len(ids), text=text[:at], **done))
        return found
