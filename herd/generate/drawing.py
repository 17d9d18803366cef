"""How the next token is chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from herd.core.errors import DataError
from herd.core.settings import Count, Positive, Share, settings
from herd.tokens.generation_config import GenerationConfig


@settings
class Sampling:
    """How the next token is drawn. temperature 0 always takes the likeliest. top_p: only tokens whose
    probabilities, likeliest first, add up to this (Holtzman et al. 2020). top_k: only so many; 0 for all."""

    temperature: float = 0.0
    top_p: Share = 1.0
    top_k: Count = 0
    max_tokens: Positive = 64
    seed: int = 0

    @classmethod
    def of(
        cls, model: GenerationConfig, *, max_tokens: int, temperature: float | None = None, seed: int = 0
    ) -> Sampling:
        """As a model is sampled by default. temperature: another one than the model's."""
        own = model.temperature if temperature is None else temperature
        return cls(temperature=own, top_p=model.top_p, top_k=model.top_k, max_tokens=max_tokens, seed=seed)


GREEDY = Sampling()


@dataclass
class Choices:
    """A tree of the only answers there may be, each a row of ids; where one ends and no other goes on, so does the
    answer."""

    after: dict[int, Choices] = field(default_factory=dict)
    ends: bool = False

    @classmethod
    def of(cls, answers: Iterable[Sequence[int]]) -> Choices:
        """Raises DataError when there is none, or an empty one."""
        top = cls()
        for answer in answers:
            if not answer:
                raise DataError("one of the choices is empty; give each at least one token")
            at = top
            for token in answer:
                at = at.after.setdefault(token, cls())
            at.ends = True
        if not top.after:
            raise DataError("there is nothing to choose from; give at least one choice")
        return top

    def allow(self, logits_V: Tensor, stops: frozenset[int]) -> Tensor:
        """The logits of what may come next; a stop may where an answer ends and a longer one goes on."""
        kept = torch.tensor([*self.after, *(stops if self.ends else ())], device=logits_V.device)
        allowed = torch.full_like(logits_V, -torch.inf)
        allowed[kept] = logits_V[kept]
        return allowed


def draw(logits_BV: Tensor, sampling: Sampling, noise_B: Tensor) -> tuple[Tensor, Tensor]:
    """The next token of every row and its log-probability at temperature 1: each [B].

    noise_B: one number in 0..1 per row, which decides the draw.
    """
    if sampling.temperature == 0:
        tokens_B = logits_BV.argmax(-1)
    else:
        probs_BV = (logits_BV / sampling.temperature).softmax(-1)
        if 0 < sampling.top_k < probs_BV.shape[-1]:
            least_B1 = probs_BV.topk(sampling.top_k).values[:, -1:]
            probs_BV = torch.where(probs_BV >= least_B1, probs_BV, 0.0)
        if sampling.top_p < 1:
            probs_BV = _nucleus(probs_BV, sampling.top_p)
        # Inverse transform: the first token at which the running sum passes the noise.
        running_BV = probs_BV.double().cumsum(-1)
        tokens_B = torch.searchsorted(running_BV, noise_B[:, None] * running_BV[:, -1:], right=True).squeeze(-1)
        tokens_B = tokens_B.clamp_max(probs_BV.shape[-1] - 1)
    picked_B = logits_BV.gather(-1, tokens_B[:, None]).squeeze(-1)
    return tokens_B, picked_B - logits_BV.logsumexp(-1)


def _nucleus(probs_BV: Tensor, top_p: float) -> Tensor:
    ordered_BV, ranks_BV = probs_BV.sort(-1, descending=True)
    before_BV = ordered_BV.cumsum(-1) - ordered_BV
    kept_BV = torch.where(before_BV < top_p * ordered_BV.sum(-1, keepdim=True), ordered_BV, 0.0)
    return torch.zeros_like(probs_BV).scatter(-1, ranks_BV, kept_BV)


def uniform(seed: int, number: int, count: int) -> np.ndarray:
    """The numbers in 0..1 that decide the draws of answer `number`."""
    digest = hashlib.sha256(f"sampling/{seed}/{number}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big"))).random(count)
