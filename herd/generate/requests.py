"""Requests, what is given back for them, and the state of an answer that is being written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from herd.generate.blocks import ROOT_HASH
from herd.generate.params import SamplingParams
from herd.generate.sampling import Choices, sampling_noise

FinishReason = Literal["stop", "length", "abort"]
Decode = Callable[[Sequence[int]], str]
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Request:
    """number: place among prompts that are asked together, by which answers with one seed differ."""

    request_id: str
    prompt_token_ids: tuple[int, ...]
    params: SamplingParams
    number: int = 0


@dataclass
class CompletionOutput:
    """What the model wrote after a prompt.

    token_ids: without the token that stopped it. logprobs: of each id and of that token, in nats, by the model itself:
    at temperature 1, before bias, penalties and constraints. top_logprobs: of each, the likeliest ids by their
    log-probability, as many as were asked for. text: where the engine has a tokenizer; a stop text and what follows are
    cut off. finish_reason: None while it is written; "stop" where a token, a text or a choice ended it, "length" at
    `max_tokens` or the end of the context, "abort" where it was cancelled. stop_reason: the token or text.
    """

    index: int = 0
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    top_logprobs: list[dict[int, float]] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None

    @property
    def stopped(self) -> bool:
        """Whether the answer came to an end by itself."""
        return self.finish_reason == "stop"


@dataclass
class RequestOutput:
    """The answers to a request as far as they are. num_cached_tokens: of the prompt, that did not have to be read,
    summed over the answers' prefills."""

    request_id: str
    prompt_token_ids: tuple[int, ...]
    outputs: list[CompletionOutput]
    num_cached_tokens: int = 0

    @property
    def finished(self) -> bool:
        return all(output.finish_reason is not None for output in self.outputs)


class Detokenizer:
    """Text of ids that come one by one, each character as soon as it is whole.

    Source: vLLM's incremental detokenization.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._known = 0  # ids whose text is given already; the one before them is decoded for its spaces
        self._from = 0

    def add(self, token: int) -> str:
        """The text that this id adds."""
        self._ids.append(token)
        before = self._decode(self._ids[self._from : self._known])
        after = self._decode(self._ids[self._from :])
        if after.endswith(_UNFINISHED) or len(after) <= len(before):
            return ""
        self._from, self._known = self._known, len(self._ids)
        return after[len(before) :]


class CompletionState:
    """One answer of a request while it waits or is written.

    tokens: the prompt's and the answer's. cached: how many of them the cache holds. blocks: where. chains: of the full
    blocks among them, beginning with what the first follows. admission: number of its admission among all. preempted:
    whether it waits although it was begun.
    word_by_word: whether the text is wanted as it grows.
    """

    def __init__(
        self, request: Request, output: RequestOutput, index: int, stop_token_ids: frozenset[int],
        choices: Choices | None, decode: Decode | None, *, word_by_word: bool,
    ) -> None:  # fmt: skip
        self.request, self.output, self.params = request, output, request.params
        self.completion = output.outputs[index]
        self.stop_token_ids, self.choice = stop_token_ids, choices
        self.distribution, self.changes_logits = self.params.distribution, self.params.changes_logits
        self.tokens = list(request.prompt_token_ids)
        self.cached = self.admission = 0
        self.preempted = False
        self.blocks: list[int] = []
        self.chains = [ROOT_HASH]
        self.token_counts: Counter[int] = Counter()
        self._noise: np.ndarray | None = None
        self._index, self._text = index, ""
        self._decode = decode
        # Text that nobody looks at meanwhile is made at the end, at once.
        incremental = decode is not None and (word_by_word or bool(self.params.stop))
        self._detokenizer = Detokenizer(decode) if incremental and decode is not None else None

    @property
    def finished(self) -> bool:
        return self.completion.finish_reason is not None

    @property
    def noise(self) -> float:
        """What decides the next draw."""
        if self.params.temperature == 0:
            return 0.0
        if self._noise is None:
            number = self.request.number * self.params.n + self._index
            self._noise = sampling_noise(self.params.seed, number, self.params.max_tokens)
        return float(self._noise[len(self.completion.token_ids)])

    def add(self, token: int, logprob: float, top: dict[int, float] | None, max_seq_len: int) -> None:
        """Writes a drawn token down, and whether the answer ends with it."""
        completion, choice = self.completion, self.choice
        completion.logprobs.append(logprob)
        if top is not None:
            completion.top_logprobs.append(top)
        if token in self.stop_token_ids and (choice is None or token not in choice.children):
            completion.finish_reason, completion.stop_reason = "stop", token
            return
        self.tokens.append(token)
        completion.token_ids.append(token)
        if self.changes_logits:
            self.token_counts[token] += 1
        if choice is not None:
            self.choice = choice.children[token]
        if self._detokenizer is not None:
            self._add_text(self._detokenizer.add(token))
        if self.finished:
            return
        if self.choice is not None and not self.choice.children:
            completion.finish_reason = "stop"
        elif len(completion.token_ids) == self.params.max_tokens or len(self.tokens) > max_seq_len:
            completion.finish_reason = "length"

    def _add_text(self, text: str) -> None:
        """A stop text may begin in an earlier token's text; what may yet turn out to be the beginning of one is held
        back."""
        completion = self.completion
        longest = max(map(len, self.params.stop), default=1)
        start = max(0, len(self._text) - longest + 1)
        self._text += text
        matches = [(at, stop) for stop in self.params.stop if (at := self._text.find(stop, start)) >= 0]
        if matches:
            at, stop = min(matches)
            self._text = self._text[:at]
            completion.finish_reason, completion.stop_reason = "stop", stop
        completion.text = self._text[: max(0, len(self._text) - longest + 1)]

    def end(self) -> None:
        """Gives out all of the text."""
        if self._decode is not None and self._detokenizer is None:
            self._text = self._decode(self.completion.token_ids)
        self.completion.text = self._text

    def abort(self) -> None:
        """Ends the answer where it is."""
        self.completion.finish_reason = "abort"
        self.end()
