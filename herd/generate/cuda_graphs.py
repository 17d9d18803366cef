"""A step of writing on a GPU as one graph: a token of every row is read and the next drawn, and nothing waits for
Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from herd.generate.params import Distribution
from herd.generate.sampling import logprobs_of, sample_alike
from herd.model.cache import PagedKVCache
from herd.model.streamed import StreamedModel
from herd.model.transformer import Call, Transformer

# Slots that a graph looks at double from here on: there are few graphs, and a short text does not pay for a long one.
_MIN_KV_LEN = 256


class CudaGraphDecoder:
    """The steps of as many rows as `table_BN` has, over this cache; rows that are not in use have length 0 and the null
    block. distribution: what is drawn from; absent, nothing is, and the logits are given.

    The graphs read and write these very tensors; what else they need is copied in only where it is not what the step
    before left.
    """

    def __init__(
        self, model: Transformer | StreamedModel, keys_LBGSE: Tensor, values_LBGSE: Tensor, table_BN: Tensor,
        distribution: Distribution | None, call: Call | None,
    ) -> None:  # fmt: skip
        self.model, self.distribution, self.call = model, distribution, call
        device, rows = table_BN.device, len(table_BN)
        self.cache = PagedKVCache(
            keys_LBGSE, values_LBGSE, table_BN, torch.zeros(rows, dtype=torch.long, device=device)
        )
        self.logits_BV = torch.zeros(rows, model.shape.vocab_size, device=device)
        self._tokens_B = torch.zeros(rows, dtype=torch.long, device=device)
        self._noise_B = torch.zeros(rows, dtype=torch.float64, device=device)
        self._sampled_2B = torch.zeros(2, rows, dtype=torch.float64, device=device)
        self._tokens, self._lengths = [0] * rows, [0] * rows  # as they stand on the device
        self._graphs: dict[int, Any] = {}

    def reads(self, keys_LBGSE: Tensor, values_LBGSE: Tensor, table_BN: Tensor) -> bool:
        """Whether the graphs are of just this memory."""
        pairs = ((self.cache.keys_LBGSE, keys_LBGSE), (self.cache.values_LBGSE, values_LBGSE))
        return all(current is candidate for current, candidate in pairs) and (
            self.cache.table_BN.data_ptr() == table_BN.data_ptr() and self.cache.table_BN.shape == table_BN.shape
        )

    def step(self, tokens: Sequence[int], lengths: Sequence[int], noise: Sequence[float]) -> None:
        """Reads a token of each of the first rows, which follows `lengths` tokens, and draws the next by `noise`."""
        idle = [0] * (len(self._tokens) - len(tokens))
        tokens = [*tokens, *self._tokens[len(tokens) :]]  # what idle rows read does not matter
        self._copy_if_changed(self._tokens_B, tokens, self._tokens)
        self._copy_if_changed(self.cache.lengths_B, [*lengths, *idle], self._lengths)
        if self.distribution is not None and self.distribution.temperature:
            self._noise_B.copy_(torch.tensor([*noise, *idle], dtype=torch.float64))
        kv_len = self._kv_len(max(lengths) + 1)
        if kv_len not in self._graphs:
            self._graphs[kv_len] = self._capture(kv_len)
        self._graphs[kv_len].replay()
        self._lengths = [length + (length > 0) for length in (*lengths, *idle)]
        self._tokens = tokens

    def sampled_tokens(self) -> list[tuple[int, float]]:
        """The token drawn for every row and its log-probability; those of rows not in use mean nothing."""
        tokens, logprobs = self._sampled_2B.tolist()
        self._tokens = [int(token) for token in tokens]
        return list(zip(self._tokens, logprobs, strict=True))

    def _copy_if_changed(self, target: Tensor, values: list[int], current: list[int]) -> None:
        if values != current:
            target.copy_(torch.tensor(values))

    def _kv_len(self, needed_len: int) -> int:
        """How many slots are looked at; kernels of our own see for themselves."""
        if self.cache.mask(self._tokens_B[:, None], self.cache.cache_len) is None:
            return self.cache.cache_len
        kv_len = _MIN_KV_LEN
        while kv_len < needed_len:
            kv_len *= 2
        return min(kv_len, self.cache.cache_len)

    def _capture(self, kv_len: int) -> Any:
        """Everything compiles first, in steps that are taken back: keys and values that were written stand where the
        next step writes the same."""
        changed = self.cache.lengths_B, self._tokens_B
        saved = [tensor.clone() for tensor in changed]

        def take_back() -> None:
            for tensor, value in zip(changed, saved, strict=True):
                tensor.copy_(value)

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._step(kv_len)
                take_back()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(kv_len)
        take_back()
        return graph

    def _step(self, kv_len: int) -> None:
        """A row that is not in use writes into the null block."""
        lengths_B = self.cache.lengths_B
        hidden_B1D = self.model.hidden_states(self._tokens_B[:, None], cache=self.cache, kv_len=kv_len, call=self.call)
        self.logits_BV.copy_(self.model.logits(hidden_B1D[:, -1]))
        lengths_B.add_(lengths_B > 0)
        if self.distribution is not None:
            tokens_B = sample_alike(self.logits_BV, self.distribution, self._noise_B)
            logprobs_B = logprobs_of(self.logits_BV, tokens_B)
            self._sampled_2B.copy_(torch.stack((tokens_B.double(), logprobs_B.double())))
            self._tokens_B.copy_(tokens_B)
