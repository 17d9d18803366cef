"""Conversations in, answers out: the same door for our own engine, an endpoint that speaks OpenAI's protocol, and a
script that stands in for a model."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from herd.core.errors import HerdError
from herd.core.records import Conversation
from herd.generate.engine import GREEDY, Engine, ProgressCallback, SamplingParams
from herd.model.collectives import RankGroup
from herd.model.devices import place_model
from herd.model.weights import load_transformer
from herd.tokens.jinja import chat_template_of
from herd.tokens.tokenizer import TextTokenizer

MAX_ATTEMPTS = 4


class Sampler(Protocol):
    """Answers conversations, each with one text, in their order."""

    def sample(self, conversations: Sequence[Conversation]) -> list[str]: ...


@dataclass(frozen=True)
class ScriptedSampler:
    """A function from a conversation to its answer, for tests and for labels that need no model."""

    answer: Callable[[Conversation], str]

    def sample(self, conversations: Sequence[Conversation]) -> list[str]:
        return [self.answer(conversation) for conversation in conversations]


@dataclass(frozen=True)
class FirstRankSampler:
    """Asks another sampler from the first of several ranks, for all of them: a server has devices of its own."""

    sampler: Sampler
    ranks: RankGroup

    def sample(self, conversations: Sequence[Conversation]) -> list[str]:
        return self.ranks.on_first(lambda: self.sampler.sample(conversations))


class EngineSampler:
    """Our own engine with the model in `folder`. Raises ArtifactError when there is none, or one that does not chat."""

    def __init__(
        self,
        folder: Path,
        sampling: SamplingParams = GREEDY,
        *,
        workers: int = 1,
        device: str = "auto",
        dtype: str = "fp32",
    ) -> None:
        text = TextTokenizer.load(folder)
        self._chat_template = chat_template_of(text)
        self._engine = Engine(place_model(load_transformer(folder), device, dtype), text.stop_token_ids, tokenizer=text)
        self._sampling, self._workers = sampling, workers

    def sample(self, conversations: Sequence[Conversation], *, sampling: SamplingParams | None = None) -> list[str]:
        """sampling: this time; as the sampler was made when absent."""
        prompts = [self._chat_template.encode_prompt(conversation) for conversation in conversations]
        params = replace(sampling or self._sampling, n=1)
        completions = self._engine.generate(prompts, params, workers=self._workers)
        return [self._chat_template.parse_message(completion.token_ids).content for completion in completions]


@dataclass(frozen=True)
class EndpointSampler:
    """A server with OpenAI's `/chat/completions` (vLLM, llama.cpp, ours or a service).

    url: up to `/v1`. model: as the server calls it. api_key_env: name of the environment variable that holds the access
    key, empty for none. max_concurrency: requests under way side by side. report: told how many are answered.
    """

    url: str
    model: str
    api_key_env: str = ""
    temperature: float = 0.0
    max_tokens: int = 256
    max_concurrency: int = 8
    timeout_seconds: float = 120.0
    report: ProgressCallback = field(default=lambda completed, total: None, compare=False)

    def sample(self, conversations: Sequence[Conversation]) -> list[str]:
        """Raises HerdError when the server refuses a request or stays away."""
        answers: list[str] = []
        with ThreadPoolExecutor(self.max_concurrency) as pool:
            for answer in pool.map(self._ask, conversations):
                answers.append(answer)
                self.report(len(answers), len(conversations))
        return answers

    def _ask(self, conversation: Conversation) -> str:
        body = {
            "model": self.model,
            "messages": [message.to_row() for message in conversation.messages],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        headers = {"Content-Type": "application/json"}
        if self.api_key_env:
            headers["Authorization"] = f"Bearer {os.environ.get(self.api_key_env, '')}"
        request = urllib.request.Request(  # noqa: S310 - the address is the user's own setting
            f"{self.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers
        )
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout_seconds) as answer:  # noqa: S310
                    return str(json.load(answer)["choices"][0]["message"]["content"] or "")
            except urllib.error.HTTPError as fault:
                fault.close()
                # Too many requests, or a server that is starting: worth another try.
                if fault.code not in (429, 500, 502, 503) or attempt == MAX_ATTEMPTS:
                    raise HerdError(f"{self.url} refused a request with status {fault.code}: {fault.reason}") from None
            except (OSError, ValueError, KeyError, IndexError) as fault:
                if attempt == MAX_ATTEMPTS:
                    raise HerdError(f"{self.url} gave no answer ({fault}); check that the server is up") from None
            time.sleep(0.5 * 2**attempt)
        raise AssertionError("the last attempt returns or raises")
