"""Writes text with a model: many prompts at once, each as long as it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from herd.core.errors import DataError
from herd.core.settings import Positive, Share, settings
from herd.model.cache import Cache
from herd.model.transformer import Transformer


@settings
class Sampling:
    """How the next token is drawn. temperature 0 always takes the likeliest. top_p: only tokens whose
    probabilities, likeliest first, add up to this (Holtzman et al. 2020)."""

    temperature: float = 0.0
    top_p: Share = 1.0
    max_tokens: Positive = 64
    seed: int = 0


GREEDY = Sampling()


@dataclass
class Completion:
    """What the model wrote after one prompt. ids: without the stop token. log_probs: of each id and of the
    stop, in nats, at temperature 1. finished: whether it stopped by itself."""

    ids: list[int]
    log_probs: list[float]
    stop: int | None = None

    @property
    def finished(self) -> bool:
        return self.stop is not None


class Engine:
    """Generation with one model.

    stops: ids that end an answer. rows: prompts in one batch; they are taken longest first, so that those
    in a batch are about as long.
    """

    def __init__(self, model: Transformer, stops: frozenset[int], rows: int = 64) -> None:
        self.model = model.eval()
        self.stops = stops
        self.rows = rows

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling = GREEDY,
        *,
        workers: int = 1,
        report: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Completion]:
        """A completion for every prompt, in their order.

        workers: batches at work at once, each on a thread. Draws depend on the seed and the prompt's number
        only. Raises DataError for a prompt that leaves no room for an answer in the model's context.
        """
        context = self.model.shape.context
        for number, prompt in enumerate(prompts):
            if not 0 < len(prompt) < context:
                raise DataError(f"prompt {number} has {len(prompt)} tokens; the model reads 1 to {context - 1}")
        order = sorted(range(len(prompts)), key=lambda number: (-len(prompts[number]), number))
        batches = [order[start : start + self.rows] for start in range(0, len(order), self.rows)]
        done: dict[int, Completion] = {}
        with ThreadPoolExecutor(workers) as threads:
            several = threads.map if workers > 1 else map
            results = several(lambda numbers: self._batch(prompts, numbers, sampling), batches)
            for numbers, completions in zip(batches, results, strict=True):
                done |= dict(zip(numbers, completions, strict=True))
                report(len(done), len(prompts))
        return [done[number] for number in range(len(prompts))]

    @torch.inference_mode()
    def _batch(self, prompts: Sequence[Sequence[int]], numbers: list[int], sampling: Sampling) -> list[Completion]:
        lengths = [len(prompts[number]) for number in numbers]
        room = min(max(lengths) + sampling.max_tokens, self.model.shape.context)
        cache, logits_BV = self._read([prompts[number] for number in numbers], lengths, room)
        noise = np.stack([_uniform(sampling.seed, number, sampling.max_tokens) for number in numbers])
        completions = [Completion([], []) for _ in numbers]
        live = torch.arange(len(numbers))
        for turn in range(sampling.max_tokens):
            tokens_B, log_probs_B = draw(logits_BV, sampling, torch.from_numpy(noise[live.numpy(), turn]))
            going = self._note(completions, live, tokens_B, log_probs_B, cache)
            if not going.any():
                break
            if not going.all():
                live, tokens_B, cache = live[going], tokens_B[going], cache.keep(going)
            logits_BV = self.model(tokens_B[:, None], cache=cache)[:, -1]
            cache.lengths_B = cache.lengths_B + 1
        return completions

    def _read(self, prompts: Sequence[Sequence[int]], lengths: list[int], room: int) -> tuple[Cache, Tensor]:
        """A cache that holds the prompts, and the logits after each: [B, V].

        Prompts are padded at the end; what stands there is never looked at, because a row's lengths end
        before it and new tokens overwrite it.
        """
        weight = self.model.embedding.weight
        device = weight.device
        tokens_BT = torch.zeros(len(prompts), max(lengths), dtype=torch.long, device=device)
        for row, prompt in enumerate(prompts):
            tokens_BT[row, : len(prompt)] = torch.as_tensor(prompt)
        cache = Cache.empty(self.model.shape, len(prompts), room, weight.dtype, device)
        hidden_BTD = self.model.hidden(tokens_BT, cache=cache)
        cache.lengths_B = torch.tensor(lengths, device=device)
        last_BD = hidden_BTD[torch.arange(len(prompts)), cache.lengths_B - 1]
        return cache, self.model.logits(last_BD)

    def _note(
        self, completions: list[Completion], live: Tensor, tokens_B: Tensor, log_probs_B: Tensor, cache: Cache
    ) -> Tensor:
        """Writes down the drawn tokens; true for the rows that go on."""
        going = []
        rows = zip(live.tolist(), tokens_B.tolist(), log_probs_B.tolist(), cache.lengths_B.tolist(), strict=True)
        for row, token, log_prob, length in rows:
            completions[row].log_probs.append(log_prob)
            if token in self.stops:
                completions[row].stop = token
                going.append(False)
            else:
                completions[row].ids.append(token)
                going.append(length < cache.slots)
        return torch.tensor(going)

    def stream(self, prompt: Sequence[int], sampling: Sampling) -> Iterator[int]:
        """The ids of one answer as they are drawn, without the stop; for people who watch."""
        with torch.inference_mode():
            room = min(len(prompt) + sampling.max_tokens, self.model.shape.context)
            if len(prompt) >= room:
                raise DataError(f"the conversation has {len(prompt)} tokens; the model reads {room - 1}: start anew")
            cache, logits_BV = self._read([prompt], [len(prompt)], room)
            noise = torch.from_numpy(_uniform(sampling.seed, 0, sampling.max_tokens))
            for turn in range(room - len(prompt)):
                token_B, _ = draw(logits_BV, sampling, noise[turn : turn + 1])
                if int(token_B) in self.stops:
                    return
                yield int(token_B)
                logits_BV = self.model(token_B[:, None], cache=cache)[:, -1]
                cache.lengths_B = cache.lengths_B + 1


def draw(logits_BV: Tensor, sampling: Sampling, noise_B: Tensor) -> tuple[Tensor, Tensor]:
    """The next token of every row and its log-probability at temperature 1: each [B].

    noise_B: one number in 0..1 per row, which decides the draw.
    """
    log_probs_BV = logits_BV.log_softmax(-1)
    if sampling.temperature == 0:
        tokens_B = logits_BV.argmax(-1)
    else:
        probs_BV = (logits_BV / sampling.temperature).softmax(-1)
        if sampling.top_p < 1:
            probs_BV = _nucleus(probs_BV, sampling.top_p)
        # Inverse transform: the first token at which the running sum passes the noise.
        running_BV = probs_BV.double().cumsum(-1)
        tokens_B = torch.searchsorted(running_BV, noise_B[:, None] * running_BV[:, -1:], right=True).squeeze(-1)
        tokens_B = tokens_B.clamp_max(probs_BV.shape[-1] - 1)
    return tokens_B, log_probs_BV.gather(-1, tokens_B[:, None]).squeeze(-1)


def _nucleus(probs_BV: Tensor, top_p: float) -> Tensor:
    ordered_BV, ranks_BV = probs_BV.sort(-1, descending=True)
    before_BV = ordered_BV.cumsum(-1) - ordered_BV
    kept_BV = torch.where(before_BV < top_p, ordered_BV, 0.0)
    return torch.zeros_like(probs_BV).scatter(-1, ranks_BV, kept_BV)


def _uniform(seed: int, number: int, count: int) -> np.ndarray:
    digest = hashlib.sha256(f"sampling/{seed}/{number}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big"))).random(count)
