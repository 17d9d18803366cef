"""A turn of writing on a GPU as one graph: a token is drawn for every row and read, and nothing waits for Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from herd.generate.drawing import Sampling, draw
from herd.model.cache import Cache
from herd.model.streamed import Streamed
from herd.model.transformer import Call, Transformer

# Slots that a graph looks at double from here on: there are few graphs, and a short text does not pay for a long one.
_LEAST_REACH = 256


class Captured:
    """The turns of rows that share `cache`. logits_BV: what the next token is drawn from, of every row."""

    def __init__(
        self, model: Transformer | Streamed, cache: Cache, logits_BV: Tensor, sampling: Sampling, call: Call | None
    ) -> None:
        self.model, self.cache, self.logits_BV = model, cache, logits_BV
        self.sampling, self.call = sampling, call
        device, rows = logits_BV.device, len(logits_BV)
        self._noise_B = torch.zeros(rows, dtype=torch.float64, device=device)
        self._alive_B = torch.zeros(rows, dtype=torch.bool, device=device)
        self._drawn_2B = torch.zeros(2, rows, dtype=torch.float64, device=device)
        self._alive: list[bool] = []
        self._graphs: dict[int, Any] = {}

    def turn(self, alive: list[bool], noise: Sequence[float], longest: int) -> tuple[list[int], list[float]]:
        """The token drawn for every row and its log-probability; those of rows not alive mean nothing.

        noise: of every row, where draws are random. longest: tokens in the fullest row so far.
        """
        if alive != self._alive:
            self._alive_B.copy_(torch.tensor(alive))
            self._alive = list(alive)
        if self.sampling.temperature:
            self._noise_B.copy_(torch.tensor(noise, dtype=torch.float64))
        reach = self._reach(longest + 1)
        if reach not in self._graphs:
            self._graphs[reach] = self._capture(reach)
        self._graphs[reach].replay()
        tokens, log_probs = self._drawn_2B.tolist()
        return [int(token) for token in tokens], log_probs

    def _reach(self, slots: int) -> int:
        """How many slots are looked at; kernels of our own see for themselves."""
        if isinstance(self.model, Streamed) and self.model.takes(len(self.logits_BV)):
            return self.cache.slots
        reach = _LEAST_REACH
        while reach < slots:
            reach *= 2
        return min(reach, self.cache.slots)

    def _capture(self, reach: int) -> Any:
        """Everything compiles first, in turns that are taken back."""
        kept = [one.clone() for one in (self.cache.lengths_B, self.logits_BV, self._drawn_2B)]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):
                self._turn(reach)
                self._take_back(kept)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._turn(reach)
        self._take_back(kept)
        return graph

    def _take_back(self, kept: list[Tensor]) -> None:
        """Keys and values that were written stand where the next turn writes again."""
        for one, value in zip((self.cache.lengths_B, self.logits_BV, self._drawn_2B), kept, strict=True):
            one.copy_(value)

    def _turn(self, reach: int) -> None:
        """A row that is full, or not alive, reads a zero into its first slot, which nobody sees."""
        lengths_B = self.cache.lengths_B
        tokens_B, log_probs_B = draw(self.logits_BV, self.sampling, self._noise_B)
        self._drawn_2B.copy_(torch.stack((tokens_B.double(), log_probs_B.double())))
        reads_B = self._alive_B & (lengths_B < self.cache.slots)
        lengths_B.mul_(reads_B)
        read_B1 = (tokens_B * reads_B)[:, None]
        hidden_B1D = self.model.hidden(read_B1, cache=self.cache, reach=reach, call=self.call)
        self.logits_BV.copy_(self.model.logits(hidden_B1D[:, -1]))
        lengths_B.add_(reads_B)
