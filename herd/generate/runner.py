"""Reads tokens of answers with the model into the KV cache, and draws what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from herd.core.errors import ArtifactError
from herd.generate.cuda_graphs import CudaGraphDecoder
from herd.generate.kv_cache import PREFILL_TOKENS, KVCacheManager
from herd.generate.params import Distribution
from herd.generate.requests import CompletionState
from herd.generate.sampling import apply_logit_bias, apply_penalties, logprobs_of, sample_each
from herd.model.cache import PagedKVCache
from herd.model.packed import PackedModel
from herd.model.streamed import StreamedModel
from herd.model.transformer import Call, Transformer

# What reads tokens: the model, or what reads with its weights faster.
InferenceModel = Transformer | PackedModel | StreamedModel

# Slots are looked at in steps of so many: a step more is looked at in vain, and compiled code changes less often.
_KV_LEN_STEP = 64
# Tokens of prompts read at once on a CPU: what lies between layers stays in its cache.
_PREFILL_TOKENS = 1024
# Graphs that are held: each is for a count of rows and what they have in common.
_MAX_GRAPHS = 8

# A token, its log-probability and, where they were asked for, the likeliest tokens and theirs.
SampledToken = tuple[int, float, dict[int, float] | None]


class ModelRunner:
    """One model and its cache. prefilled_tokens: tokens of prompts that were read, for tests and metrics. piece_tokens:
    of a GPU, so many tokens of prompts are read at once, and a longer prompt piece by piece (Agrawal et al. 2023,
    SARATHI, 4.2); None elsewhere, and where positions turn by a text's length."""

    def __init__(self, model: InferenceModel, cache: KVCacheManager, call: Call | None) -> None:
        self.model, self.cache, self.call = model, cache, call
        self.device = model.embedding.weight.device
        self.prefilled_tokens = 0
        in_pieces = self.device.type == "cuda" and not cache.shape.rope_depends_on_length
        self.piece_tokens = PREFILL_TOKENS if in_pieces else None
        self._decoders: dict[tuple[int, Distribution | None], CudaGraphDecoder] = {}
        self._rows = 0

    def prefill(self, answers: list[CompletionState]) -> Tensor:
        """Reads what is not cached of each and returns the logits after it: [answers, V]. Raises ArtifactError for
        weights that are no numbers."""
        self.prefilled_tokens += sum(len(answer.tokens) - answer.cached for answer in answers)
        last_ND = torch.cat([self._prefill_batch(batch) for batch in self._prefill_batches(answers)])
        logits_NV = self.model.logits(last_ND)
        if not bool(torch.isfinite(logits_NV).all()):
            raise ArtifactError("the model's numbers are not finite, so it can say nothing; take another checkpoint")
        return logits_NV

    def decode(self, running: list[CompletionState]) -> list[SampledToken]:
        """Reads the last token of every answer, which stand in the table in this order, and draws the next."""
        if self.device.type == "cuda" and not self.cache.shape.rope_depends_on_length:
            return self._graph_step(running)
        lengths = [answer.cached for answer in running]
        cache = self.cache.of_rows(len(running), torch.tensor(lengths))
        kv_len = min(cache.cache_len, -(-(max(lengths) + 1) // _KV_LEN_STEP) * _KV_LEN_STEP)
        tokens_B1 = torch.tensor([answer.tokens[-1] for answer in running])[:, None]
        hidden_B1D = self.model.hidden_states(tokens_B1, cache=cache, kv_len=kv_len, call=self.call)
        return self.sample(self.model.logits(hidden_B1D[:, -1]), running)

    def sample(self, logits_BV: Tensor, answers: Sequence[CompletionState]) -> list[SampledToken]:
        """A token for every row. Log-probabilities are the model's own, whatever it is drawn from."""
        adjusted_BV = logits_BV
        if any(answer.changes_logits for answer in answers):
            adjusted_BV = torch.stack(
                [_adjust_logits(row, completion) for row, completion in zip(logits_BV, answers, strict=True)]
            )
        distributions = [answer.distribution for answer in answers]
        tokens_B = sample_each(adjusted_BV, distributions, [answer.noise for answer in answers])
        tokens, logprobs = tokens_B.tolist(), logprobs_of(logits_BV, tokens_B).tolist()
        counts = [answer.params.logprobs for answer in answers]
        top = [_likeliest(logits_BV[row], count) if count else None for row, count in enumerate(counts)]
        return list(zip(tokens, logprobs, top, strict=True))

    def _prefill_batches(self, answers: list[CompletionState]) -> list[list[CompletionState]]:
        """Answers read at once. Where rows are padded, none is padded beyond the model's context."""
        batches: list[list[CompletionState]] = []
        tokens = longest = cached = 0
        for answer in answers:
            new = len(answer.tokens) - answer.cached
            tokens, longest, cached = tokens + new, max(longest, new), max(cached, answer.cached)
            if isinstance(self.model, PackedModel):
                fits = tokens <= _PREFILL_TOKENS
            else:
                count = len(batches[-1]) + 1 if batches else 1
                at_once = _PREFILL_TOKENS if self.device.type == "cpu" else PREFILL_TOKENS
                fits = count * longest <= at_once and cached + longest <= self.cache.shape.max_seq_len
            # Where positions turn by a row's length, a padded row would turn otherwise.
            if batches and fits and not self.cache.shape.rope_depends_on_length:
                batches[-1].append(answer)
            else:
                batches.append([answer])
                tokens, longest, cached = new, new, answer.cached
        return batches

    def _prefill_batch(self, answers: list[CompletionState]) -> Tensor:
        """The last state of each: [answers, D]."""
        new = [answer.tokens[answer.cached :] for answer in answers]
        cache = self.cache.of_answers(answers)
        if isinstance(self.model, PackedModel):
            ends = torch.tensor([len(tokens) for tokens in new]).cumsum(0)
            starts = torch.cat((torch.zeros(1, dtype=torch.long), ends))
            flat = torch.tensor(list(chain.from_iterable(new)))
            return self.model.read_prompts(flat, starts, cache)[ends - 1]
        longest = max(map(len, new))
        if self.piece_tokens is not None and len(new) == 1 and longest + answers[0].cached > self.piece_tokens:
            return self._prefill_long(new[0], cache, self.piece_tokens)
        # What is written for the padding is never looked at: it lies behind a row's length or in the null block.
        tokens_NT = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens in new], device=self.device)
        short = -(-(int(cache.lengths_B.max()) + longest) // cache.block_size) - cache.table_BN.shape[1]
        cache.table_BN = torch.nn.functional.pad(cache.table_BN, (0, max(0, short)))
        hidden_NTD = self.model.hidden_states(tokens_NT, cache=cache)
        last = torch.tensor([len(tokens) - 1 for tokens in new], device=self.device)
        return hidden_NTD[torch.arange(len(new), device=self.device), last]

    def _prefill_long(self, tokens: list[int], cache: PagedKVCache, size: int) -> Tensor:
        """The last state of one prompt, [1, D], whose tokens are read `size` at a time."""
        assert len(cache.table_BN) == 1
        last_1D = torch.empty(0)
        for start in range(0, len(tokens), size):
            piece = torch.tensor([tokens[start : start + size]], device=self.device)
            read = replace(cache, lengths_B=cache.lengths_B + start, long_row=True)
            last_1D = self.model.hidden_states(piece, cache=read)[:, -1]
        return last_1D

    def _graph_step(self, running: list[CompletionState]) -> list[SampledToken]:
        """By a graph, which draws too where all rows are drawn alike and nothing else is asked."""
        distribution = running[0].distribution
        alike = all(
            completion.distribution == distribution and not completion.changes_logits and not completion.params.logprobs
            for completion in running
        )
        decoder = self._decoder(len(running), distribution if alike else None)
        decoder.step([answer.tokens[-1] for answer in running], [answer.cached for answer in running],
                      [answer.noise for answer in running])  # fmt: skip
        if not alike:
            return self.sample(decoder.logits_BV[: len(running)], running)
        return [(token, logprob, None) for token, logprob in decoder.sampled_tokens()[: len(running)]]

    def _decoder(self, rows: int, distribution: Distribution | None) -> CudaGraphDecoder:
        """The graphs for at least so many rows: another count of them is another graph, and idle rows cost little."""
        assert not isinstance(self.model, PackedModel)
        if rows > self._rows or rows <= self._rows // 4:
            self._rows = min(1 << (rows - 1).bit_length(), len(self.cache.table_BN))
        key = self._rows, distribution
        tensors = self.cache.keys_LBGSE, self.cache.values_LBGSE, self.cache.table_on_device()[: self._rows]
        decoder = self._decoders.pop(key, None)
        if decoder is not None and not decoder.reads(*tensors):
            self._decoders.clear()  # the cache has grown, and graphs keep what it was
            decoder = None
        decoder = decoder or CudaGraphDecoder(self.model, *tensors, distribution, self.call)
        self._decoders[key] = decoder  # the last used at the end
        if len(self._decoders) > _MAX_GRAPHS:
            self._decoders.pop(next(iter(self._decoders)))
        return decoder


def _adjust_logits(logits_V: Tensor, answer: CompletionState) -> Tensor:
    """In vLLM's order: bias, penalties; what may not come stays impossible."""
    params = answer.params
    if params.logit_bias:
        logits_V = apply_logit_bias(logits_V, params.logit_bias)
    if answer.changes_logits:
        logits_V = apply_penalties(logits_V, params, answer.request.prompt_token_ids, answer.token_counts)
    return logits_V if answer.choice is None else answer.choice.allow(logits_V, answer.stop_token_ids)


def _likeliest(logits_V: Tensor, count: int) -> dict[int, float]:
    values, ids = logits_V.log_softmax(-1).topk(min(count, len(logits_V)))
    return dict(zip(ids.tolist(), values.tolist(), strict=True))
