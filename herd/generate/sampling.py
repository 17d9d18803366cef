"""How the next token is chosen."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from herd.core.errors import DataError
from herd.generate.params import Distribution, SamplingParams


@dataclass
class Choices:
    """A tree of the only answers there may be, each a row of ids; where one ends and no other goes on, so does the
    answer."""

    children: dict[int, Choices] = field(default_factory=dict)
    is_end: bool = False

    @classmethod
    def of(cls, answers: Iterable[Sequence[int]]) -> Choices:
        """Raises DataError when there is none, or an empty one."""
        root = cls()
        for answer in answers:
            if not answer:
                raise DataError("one of the choices is empty; give each at least one token")
            node = root
            for token in answer:
                node = node.children.setdefault(token, cls())
            node.is_end = True
        if not root.children:
            raise DataError("there is nothing to choose from; give at least one choice")
        return root

    def allow(self, logits_V: Tensor, stop_token_ids: Iterable[int]) -> Tensor:
        """The logits of what may come next; a stop may where an answer ends and a longer one goes on."""
        ids = torch.tensor([*self.children, *(stop_token_ids if self.is_end else ())], device=logits_V.device)
        allowed = torch.full_like(logits_V, -torch.inf)
        allowed[ids] = logits_V[ids]
        return allowed


def apply_penalties(
    logits_V: Tensor, params: SamplingParams, prompt: Iterable[int], output_counts: Counter[int]
) -> Tensor:
    """Logits after the penalties for tokens that were used. output_counts: how often each stands in the answer."""
    logits_V = logits_V.clone()
    if params.repetition_penalty != 1:
        ids = torch.tensor(sorted({*prompt, *output_counts}), device=logits_V.device)
        token_logits = logits_V[ids]
        logits_V[ids] = torch.where(
            token_logits > 0, token_logits / params.repetition_penalty, token_logits * params.repetition_penalty
        )
    if output_counts and (params.frequency_penalty or params.presence_penalty):
        ids, counts = (
            torch.tensor(list(x), device=logits_V.device) for x in (output_counts.keys(), output_counts.values())
        )
        logits_V[ids] -= params.frequency_penalty * counts + params.presence_penalty
    return logits_V


def apply_logit_bias(logits_V: Tensor, bias: dict[int, float]) -> Tensor:
    """Logits with what is added to some of them."""
    ids = torch.tensor(list(bias), device=logits_V.device)
    logits_V = logits_V.clone()
    logits_V[ids] += torch.tensor(list(bias.values()), device=logits_V.device)
    return logits_V


def sample_tokens(logits_BV: Tensor, params: SamplingParams, noise_B: Tensor) -> tuple[Tensor, Tensor]:
    """The next token of every row and its log-probability at temperature 1: each [B].

    noise_B: one number in 0..1 per row, which decides the draw.
    """
    tokens_B = sample_alike(logits_BV, params.distribution, noise_B)
    return tokens_B, logprobs_of(logits_BV, tokens_B)


def sample_each(logits_BV: Tensor, distributions: Sequence[Distribution], noise: Sequence[float]) -> Tensor:
    """The next token of every row, each drawn in its own way: [B]. A row's does not depend on the others."""
    noise_B = torch.tensor(noise, dtype=torch.float64, device=logits_BV.device)
    groups: dict[Distribution, list[int]] = {}
    for row, distribution in enumerate(distributions):
        groups.setdefault(distribution, []).append(row)
    if len(groups) == 1:
        return sample_alike(logits_BV, next(iter(groups)), noise_B)
    tokens_B = torch.empty(len(distributions), dtype=torch.long, device=logits_BV.device)
    for distribution, rows in groups.items():
        tokens_B[rows] = sample_alike(logits_BV[rows], distribution, noise_B[rows])
    return tokens_B


def logprobs_of(logits_BV: Tensor, tokens_B: Tensor) -> Tensor:
    """Of each row's token, in nats at temperature 1: [B]."""
    return logits_BV.gather(-1, tokens_B[:, None]).squeeze(-1) - logits_BV.logsumexp(-1)


def sample_alike(logits_BV: Tensor, distribution: Distribution, noise_B: Tensor) -> Tensor:
    """The next token of rows that are drawn in one way: [B]. Filters in vLLM's order: min_p, top_k, top_p."""
    temperature, top_p, top_k, min_p = distribution
    if temperature == 0:
        return logits_BV.argmax(-1)
    probs_BV = (logits_BV / temperature).softmax(-1)
    if min_p > 0:
        probs_BV = torch.where(probs_BV >= min_p * probs_BV.amax(-1, keepdim=True), probs_BV, 0.0)
    if 0 < top_k < probs_BV.shape[-1]:
        least_B1 = probs_BV.topk(top_k).values[:, -1:]
        probs_BV = torch.where(probs_BV >= least_B1, probs_BV, 0.0)
    if top_p < 1:
        probs_BV = _nucleus(probs_BV, top_p)
    # Inverse transform: the first token at which the running sum passes the noise.
    running_BV = probs_BV.double().cumsum(-1)
    tokens_B = torch.searchsorted(running_BV, noise_B[:, None] * running_BV[:, -1:], right=True).squeeze(-1)
    return tokens_B.clamp_max(probs_BV.shape[-1] - 1)


def _nucleus(probs_BV: Tensor, top_p: float) -> Tensor:
    ordered_BV, ranks_BV = probs_BV.sort(-1, descending=True)
    before_BV = ordered_BV.cumsum(-1) - ordered_BV
    inside_BV = torch.where(before_BV < top_p * ordered_BV.sum(-1, keepdim=True), ordered_BV, 0.0)
    return torch.zeros_like(probs_BV).scatter(-1, ranks_BV, inside_BV)


def sampling_noise(seed: int, number: int, count: int) -> np.ndarray:
    """The numbers in 0..1 that decide the draws of answer `number`."""
    digest = hashlib.sha256(f"sampling/{seed}/{number}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big"))).random(count)
