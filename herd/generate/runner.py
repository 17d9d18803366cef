"""Reads tokens of answers with the model into the KV cache, and draws what comes next."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from herd.core.errors import ArtifactError
from herd.generate.captured import Captured
from herd.generate.kv_cache import KVCache
from herd.generate.params import Distribution
from herd.generate.requests import Answer
from herd.generate.sampling import biased, draw_each, logprobs_of, penalized
from herd.model.packed import Packed
from herd.model.streamed import Streamed
from herd.model.transformer import Call, Transformer

# What reads tokens: the model, or what reads with its weights faster.
Reader = Transformer | Packed | Streamed

# Slots are looked at in steps of so many: a step more is looked at in vain, and compiled code changes less often.
_REACH = 64
# Tokens of prompts read at once on a CPU: what lies between layers stays in its cache.
_READ_TOKENS = 1024
# Graphs that are held: each is for a count of rows and what they have in common.
_MOST_GRAPHS = 8

# A token, its log-probability and, where they were asked for, the likeliest tokens and theirs.
Drawn = tuple[int, float, dict[int, float] | None]


class Runner:
    """One model and its cache. prefilled_tokens: tokens of prompts that were read, for tests and metrics."""

    def __init__(self, model: Reader, cache: KVCache, call: Call | None) -> None:
        self.model, self.cache, self.call = model, cache, call
        self.device = model.embedding.weight.device
        self.prefilled_tokens = 0
        self._captured: dict[tuple[int, Distribution | None], Captured] = {}
        self._rows = 0

    def prefill(self, answers: list[Answer]) -> Tensor:
        """Reads what is not cached of each and returns the logits after it: [answers, V]. Raises ArtifactError for
        weights that are no numbers."""
        self.prefilled_tokens += sum(len(answer.tokens) - answer.cached for answer in answers)
        last_ND = torch.cat([self._read(some) for some in self._in_parts(answers)])
        logits_NV = self.model.logits(last_ND)
        if not bool(torch.isfinite(logits_NV).all()):
            raise ArtifactError("the model's numbers are not finite, so it can say nothing; take another checkpoint")
        return logits_NV

    def decode(self, running: list[Answer]) -> list[Drawn]:
        """Reads the last token of every answer, which stand in the table in this order, and draws the next."""
        if self.device.type == "cuda" and not self.cache.shape.turns_by_length:
            return self._captured_step(running)
        lengths = [answer.cached for answer in running]
        cache = self.cache.of_rows(len(running), torch.tensor(lengths))
        reach = min(cache.slots, -(-(max(lengths) + 1) // _REACH) * _REACH)
        tokens_B1 = torch.tensor([answer.tokens[-1] for answer in running])[:, None]
        hidden_B1D = self.model.hidden(tokens_B1, cache=cache, reach=reach, call=self.call)
        return self.draw(self.model.logits(hidden_B1D[:, -1]), running)

    def draw(self, logits_BV: Tensor, answers: Sequence[Answer]) -> list[Drawn]:
        """A token for every row. Log-probabilities are the model's own, whatever it is drawn from."""
        changed_BV = logits_BV
        if any(answer.changes_logits for answer in answers):
            changed_BV = torch.stack([_changed(row, one) for row, one in zip(logits_BV, answers, strict=True)])
        each = [answer.distribution for answer in answers]
        tokens_B = draw_each(changed_BV, each, [answer.noise for answer in answers])
        tokens, logprobs = tokens_B.tolist(), logprobs_of(logits_BV, tokens_B).tolist()
        counts = [answer.params.logprobs for answer in answers]
        top = [_likeliest(logits_BV[row], count) if count else None for row, count in enumerate(counts)]
        return list(zip(tokens, logprobs, top, strict=True))

    def _in_parts(self, answers: list[Answer]) -> list[list[Answer]]:
        """Answers read at once. Where rows are padded, none is padded beyond the model's context."""
        parts: list[list[Answer]] = []
        tokens = longest = cached = 0
        for answer in answers:
            new = len(answer.tokens) - answer.cached
            tokens, longest, cached = tokens + new, max(longest, new), max(cached, answer.cached)
            if isinstance(self.model, Packed):
                fits = tokens <= _READ_TOKENS
            else:
                count = len(parts[-1]) + 1 if parts else 1
                small = self.device.type == "cuda" or count * longest <= _READ_TOKENS
                fits = small and cached + longest <= self.cache.shape.context
            if parts and fits and not self.cache.shape.turns_by_length:  # then a padded row would turn otherwise
                parts[-1].append(answer)
            else:
                parts.append([answer])
                tokens, longest, cached = new, new, answer.cached
        return parts

    def _read(self, answers: list[Answer]) -> Tensor:
        """The last state of each: [answers, D]."""
        new = [answer.tokens[answer.cached :] for answer in answers]
        cache = self.cache.of_answers(answers)
        if isinstance(self.model, Packed):
            ends = torch.tensor([len(tokens) for tokens in new]).cumsum(0)
            starts = torch.cat((torch.zeros(1, dtype=torch.long), ends))
            flat = torch.tensor([token for tokens in new for token in tokens])
            return self.model.read_prompts(flat, starts, cache)[ends - 1]
        longest = max(map(len, new))
        # What is written for the padding is never looked at: it lies behind a row's length or in the null block.
        tokens_NT = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens in new], device=self.device)
        short = -(-(int(cache.lengths_B.max()) + longest) // cache.block_size) - cache.table_BN.shape[1]
        cache.table_BN = torch.nn.functional.pad(cache.table_BN, (0, max(0, short)))
        hidden_NTD = self.model.hidden(tokens_NT, cache=cache)
        last = torch.tensor([len(tokens) - 1 for tokens in new], device=self.device)
        return hidden_NTD[torch.arange(len(new), device=self.device), last]

    def _captured_step(self, running: list[Answer]) -> list[Drawn]:
        """By a graph, which draws too where all rows are drawn alike and nothing else is asked."""
        distribution = running[0].distribution
        alike = all(
            one.distribution == distribution and not one.changes_logits and not one.params.logprobs for one in running
        )
        captured = self._graphs(len(running), distribution if alike else None)
        captured.step([answer.tokens[-1] for answer in running], [answer.cached for answer in running],
                      [answer.noise for answer in running])  # fmt: skip
        if not alike:
            return self.draw(captured.logits_BV[: len(running)], running)
        return [(token, logprob, None) for token, logprob in captured.drawn()[: len(running)]]

    def _graphs(self, rows: int, distribution: Distribution | None) -> Captured:
        """The graphs for at least so many rows: another count of them is another graph, and idle rows cost little."""
        assert not isinstance(self.model, Packed)
        if rows > self._rows or rows <= self._rows // 4:
            self._rows = min(1 << (rows - 1).bit_length(), len(self.cache.table_BN))
        key = self._rows, distribution
        held = self.cache.keys_LBGSE, self.cache.values_LBGSE, self.cache.table_on_device()[: self._rows]
        captured = self._captured.pop(key, None)
        if captured is not None and not captured.reads(*held):
            self._captured.clear()  # the cache has grown, and graphs keep what it was
            captured = None
        captured = captured or Captured(self.model, *held, distribution, self.call)
        self._captured[key] = captured  # the last used at the end
        if len(self._captured) > _MOST_GRAPHS:
            self._captured.pop(next(iter(self._captured)))
        return captured


def _changed(logits_V: Tensor, answer: Answer) -> Tensor:
    """In vLLM's order: bias, penalties; what may not come stays impossible."""
    params = answer.params
    if params.logit_bias:
        logits_V = biased(logits_V, params.logit_bias)
    if answer.changes_logits:
        logits_V = penalized(logits_V, params, answer.request.prompt_token_ids, answer.written)
    return logits_V if answer.choice is None else answer.choice.allow(logits_V, answer.stops)


def _likeliest(logits_V: Tensor, count: int) -> dict[int, float]:
    values, ids = logits_V.log_softmax(-1).topk(min(count, len(logits_V)))
    return dict(zip(ids.tolist(), values.tolist(), strict=True))
