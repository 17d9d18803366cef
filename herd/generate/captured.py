"""A step of writing on a GPU as one graph: a token of every row is read and the next drawn, and nothing waits for
Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from herd.generate.params import Distribution
from herd.generate.sampling import draw_alike, logprobs_of
from herd.model.cache import Cache
from herd.model.streamed import Streamed
from herd.model.transformer import Call, Transformer

# Slots that a graph looks at double from here on: there are few graphs, and a short text does not pay for a long one.
_LEAST_REACH = 256


class Captured:
    """The steps of as many rows as `table_BN` has, over this cache; rows that are not in use have length 0 and the null
    block. distribution: what is drawn from; absent, nothing is, and the logits are given.

    The graphs read and write these very tensors; what else they need is copied in only where it is not what the step
    before left.
    """

    def __init__(
        self, model: Transformer | Streamed, keys_LBGSE: Tensor, values_LBGSE: Tensor, table_BN: Tensor,
        distribution: Distribution | None, call: Call | None,
    ) -> None:  # fmt: skip
        self.model, self.distribution, self.call = model, distribution, call
        device, rows = table_BN.device, len(table_BN)
        self.cache = Cache(keys_LBGSE, values_LBGSE, table_BN, torch.zeros(rows, dtype=torch.long, device=device))
        self.logits_BV = torch.zeros(rows, model.shape.vocabulary, device=device)
        self._tokens_B = torch.zeros(rows, dtype=torch.long, device=device)
        self._noise_B = torch.zeros(rows, dtype=torch.float64, device=device)
        self._drawn_2B = torch.zeros(2, rows, dtype=torch.float64, device=device)
        self._tokens, self._lengths = [0] * rows, [0] * rows  # as they stand on the device
        self._graphs: dict[int, Any] = {}

    def reads(self, keys_LBGSE: Tensor, values_LBGSE: Tensor, table_BN: Tensor) -> bool:
        """Whether the graphs are of just this memory."""
        pairs = ((self.cache.keys_LBGSE, keys_LBGSE), (self.cache.values_LBGSE, values_LBGSE))
        return all(own is other for own, other in pairs) and (
            self.cache.table_BN.data_ptr() == table_BN.data_ptr() and self.cache.table_BN.shape == table_BN.shape
        )

    def step(self, tokens: Sequence[int], lengths: Sequence[int], noise: Sequence[float]) -> None:
        """Reads a token of each of the first rows, which follows `lengths` tokens, and draws the next by `noise`."""
        idle = [0] * (len(self._tokens) - len(tokens))
        tokens = [*tokens, *self._tokens[len(tokens) :]]  # what idle rows read does not matter
        self._bring(self._tokens_B, tokens, self._tokens)
        self._bring(self.cache.lengths_B, [*lengths, *idle], self._lengths)
        if self.distribution is not None and self.distribution.temperature:
            self._noise_B.copy_(torch.tensor([*noise, *idle], dtype=torch.float64))
        reach = self._reach(max(lengths) + 1)
        if reach not in self._graphs:
            self._graphs[reach] = self._capture(reach)
        self._graphs[reach].replay()
        self._lengths = [length + (length > 0) for length in (*lengths, *idle)]
        self._tokens = tokens

    def drawn(self) -> list[tuple[int, float]]:
        """The token drawn for every row and its log-probability; those of rows not in use mean nothing."""
        tokens, logprobs = self._drawn_2B.tolist()
        self._tokens = [int(token) for token in tokens]
        return list(zip(self._tokens, logprobs, strict=True))

    def _bring(self, to: Tensor, wanted: list[int], there: list[int]) -> None:
        if wanted != there:
            to.copy_(torch.tensor(wanted))

    def _reach(self, slots: int) -> int:
        """How many slots are looked at; kernels of our own see for themselves."""
        if self.cache.mask(self._tokens_B[:, None], self.cache.slots) is None:
            return self.cache.slots
        reach = _LEAST_REACH
        while reach < slots:
            reach *= 2
        return min(reach, self.cache.slots)

    def _capture(self, reach: int) -> Any:
        """Everything compiles first, in steps that are taken back: keys and values that were written stand where the
        next step writes the same."""
        changed = self.cache.lengths_B, self._tokens_B
        before = [tensor.clone() for tensor in changed]

        def take_back() -> None:
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)

        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._step(reach)
                take_back()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(reach)
        take_back()
        return graph

    def _step(self, reach: int) -> None:
        """A row that is not in use writes into the null block."""
        lengths_B = self.cache.lengths_B
        hidden_B1D = self.model.hidden(self._tokens_B[:, None], cache=self.cache, reach=reach, call=self.call)
        self.logits_BV.copy_(self.model.logits(hidden_B1D[:, -1]))
        lengths_B.add_(lengths_B > 0)
        if self.distribution is not None:
            tokens_B = draw_alike(self.logits_BV, self.distribution, self._noise_B)
            logprobs_B = logprobs_of(self.logits_BV, tokens_B)
            self._drawn_2B.copy_(torch.stack((tokens_B.double(), logprobs_B.double())))
            self._tokens_B.copy_(tokens_B)
