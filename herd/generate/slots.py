"""A cache of as many rows as are written at once; a row whose answer is done takes the next prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from herd.core.errors import ArtifactError
from herd.generate.captured import Captured
from herd.generate.drawing import Choices, Sampling, draw, uniform
from herd.model.cache import Cache
from herd.model.packed import Packed
from herd.model.streamed import Streamed
from herd.model.transformer import Call, Transformer

# What reads tokens: the model, or what reads with its weights faster.
Reader = Transformer | Packed | Streamed

# Slots are looked at in steps of so many: a step more is looked at in vain, and compiled code changes less often.
_REACH = 64
# Prompts that begin alike in at least so many tokens have these read once.
_SHARED = 16
# Tokens of prompts read at once on a CPU.
_READ_TOKENS = 1024


@dataclass
class Completion:
    """What the model wrote after one prompt. ids: without the stop token. log_probs: of each id and of the
    stop, in nats, at temperature 1. finished: whether it stopped by itself."""

    ids: list[int]
    log_probs: list[float]
    stop: int | None = None
    chosen: bool = False

    @property
    def finished(self) -> bool:
        return self.stop is not None or self.chosen


@dataclass
class _Row:
    """An answer being written. number: of its prompt. length: tokens read so far. left: tokens it may still have. at:
    place among the choices."""

    number: int
    length: int
    left: int
    noise: np.ndarray
    at: Choices | None
    completion: Completion = field(default_factory=lambda: Completion([], []))


class Slots:
    """`rows` answers written at once, none with its prompt longer than `room` tokens."""

    def __init__(
        self,
        model: Reader,
        stops: frozenset[int],
        sampling: Sampling,
        *,
        rows: int,
        room: int,
        choices: Choices | None = None,
        call: Call | None = None,
    ) -> None:
        self.model, self.stops, self.sampling, self.choices, self.call = model, stops, sampling, choices, call
        weight = model.embedding.weight
        self.device, self.room = weight.device, room
        self.cache = Cache.empty(model.shape, rows, room, weight.dtype, weight.device)
        self.logits_BV = torch.zeros(rows, model.shape.vocabulary, device=weight.device)
        self.rows: list[_Row | None] = [None] * rows
        self._captured: Captured | None = None

    @property
    def free(self) -> int:
        return sum(row is None for row in self.rows)

    @property
    def live(self) -> int:
        return len(self.rows) - self.free

    def admit(self, prompts: Sequence[Sequence[int]], numbers: Sequence[int]) -> None:
        """Reads these prompts into free rows; equal ones are read once. Raises ArtifactError for weights that are no
        numbers."""
        places = [place for place, row in enumerate(self.rows) if row is None][: len(numbers)]
        different = list(dict.fromkeys(tuple(prompt) for prompt in prompts))
        cache, logits_NV = self._read(different)
        if not bool(torch.isfinite(logits_NV).all()):
            raise ArtifactError("the model's numbers are not finite, so it can say nothing; take another checkpoint")
        order = {prompt: number for number, prompt in enumerate(different)}
        taken = torch.tensor([order[tuple(prompt)] for prompt in prompts], device=self.device)
        to = torch.tensor(places, device=self.device)
        slots = cache.slots
        self.cache.keys_LBGSE[:, to, :, :slots] = cache.keys_LBGSE[:, taken]
        self.cache.values_LBGSE[:, to, :, :slots] = cache.values_LBGSE[:, taken]
        self.cache.lengths_B[to] = cache.lengths_B[taken]
        self.logits_BV[to] = logits_NV[taken]
        for place, number, prompt in zip(places, numbers, prompts, strict=True):
            noise = uniform(self.sampling.seed, number, self.sampling.max_tokens)
            self.rows[place] = _Row(number, len(prompt), self.sampling.max_tokens, noise, self.choices)

    def _read(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Cache, Tensor]:
        """A cache that holds the prompts, and the logits after each: [N, V].

        Prompts are padded at the end; what stands there is never looked at, because a row's lengths end before it and
        new tokens overwrite it.
        """
        lengths = [len(prompt) for prompt in prompts]
        weight = self.model.embedding.weight
        cache = Cache.empty(self.model.shape, len(prompts), max(lengths), weight.dtype, self.device)
        shared = shared_prefix(prompts)
        if shared >= _SHARED and len(prompts) > 1 and not self._by_length:
            one = Cache.empty(self.model.shape, 1, shared, weight.dtype, self.device)
            self.model.hidden(torch.tensor([prompts[0][:shared]], device=self.device), cache=one)
            cache.keys_LBGSE[:, :, :, :shared] = one.keys_LBGSE
            cache.values_LBGSE[:, :, :, :shared] = one.values_LBGSE
            cache.lengths_B[:] = shared
        else:
            shared = 0
        tokens_NT = torch.zeros(len(prompts), max(lengths) - shared, dtype=torch.long, device=self.device)
        for row, prompt in enumerate(prompts):
            tokens_NT[row, : len(prompt) - shared] = torch.tensor(prompt[shared:])
        last = torch.tensor(lengths, device=self.device) - 1 - shared
        last_ND = torch.cat([self._read_rows(cache, tokens_NT, last, rows) for rows in self._few(tokens_NT)])
        cache.lengths_B = torch.tensor(lengths, device=self.device)
        return cache, self.model.logits(last_ND)

    @property
    def _by_length(self) -> bool:
        """Whether a prompt's length decides how its positions turn, so that each is read whole and by itself."""
        scaling = self.model.shape.rope_scaling
        return scaling is not None and scaling.by_length

    def _few(self, tokens_NT: Tensor) -> list[slice]:
        """Rows read at once: all of them on a GPU, and so many on a CPU that what lies between layers stays in its
        cache."""
        count, width = tokens_NT.shape
        if self._by_length:
            return [slice(row, row + 1) for row in range(count)]
        most = count if self.device.type == "cuda" else max(1, _READ_TOKENS // width)
        return [slice(start, start + most) for start in range(0, count, most)]

    def _read_rows(self, cache: Cache, tokens_NT: Tensor, last_N: Tensor, rows: slice) -> Tensor:
        """The last states of some prompts, whose keys and values go into `cache`: [rows, D]."""
        part = Cache(cache.keys_LBGSE[:, rows], cache.values_LBGSE[:, rows], cache.lengths_B[rows])
        width = int(last_N[rows].max()) + 1 if self._by_length else None
        hidden_NTD = self.model.hidden(tokens_NT[rows, :width], cache=part)
        return hidden_NTD[torch.arange(len(hidden_NTD), device=self.device), last_N[rows]]

    def step(self) -> list[tuple[int, Completion]]:
        """Draws a token for every live row and reads it; the answers that are done with it, by their prompt's
        number."""
        if self.device.type == "cuda" and self.choices is None and not self._by_length:
            return self._noted(*self._captured_turn())
        tokens, log_probs = self._draw()
        done = self._noted(tokens, log_probs)
        if self.live:
            self._decode([token if row else 0 for token, row in zip(tokens, self.rows, strict=True)])
        return done

    def _captured_turn(self) -> tuple[list[int], list[float]]:
        if self._captured is None:
            assert not isinstance(self.model, Packed)
            self._captured = Captured(self.model, self.cache, self.logits_BV, self.sampling, self.call)
        live = [row for row in self.rows if row is not None]
        drawn = self.sampling.temperature > 0
        noise = [0.0 if row is None else self._noise(row) for row in self.rows] if drawn else []
        return self._captured.turn([row is not None for row in self.rows], noise, max(row.length for row in live))

    def _noise(self, row: _Row) -> float:
        return float(row.noise[self.sampling.max_tokens - row.left])

    def _draw(self) -> tuple[list[int], list[float]]:
        """A token for every row and its log-probability; zeros for those that are free."""
        places = [place for place, row in enumerate(self.rows) if row is not None]
        logits_BV = self.logits_BV[places]
        live = [row for row in self.rows if row is not None]
        for row, logits_V in zip(live, logits_BV, strict=True) if self.choices else ():
            assert row.at is not None
            logits_V.copy_(row.at.allow(logits_V, self.stops))
        noise = torch.tensor([self._noise(row) for row in live], dtype=torch.float64, device=self.device)
        drawn_B, log_probs_B = draw(logits_BV, self.sampling, noise)
        tokens, log_probs = [0] * len(self.rows), [0.0] * len(self.rows)
        for place, token, log_prob in zip(places, drawn_B.tolist(), log_probs_B.tolist(), strict=True):
            tokens[place], log_probs[place] = token, log_prob
        return tokens, log_probs

    def _noted(self, tokens: list[int], log_probs: list[float]) -> list[tuple[int, Completion]]:
        """Writes down what was drawn; the answers that are done, whose rows are free from now on."""
        done = []
        for place, row in enumerate(self.rows):
            if row is None:
                continue
            if self._note(row, tokens[place], log_probs[place], row.length):
                done.append((row.number, row.completion))
                self.rows[place] = None
            row.length += 1
        return done

    def _note(self, row: _Row, token: int, log_prob: float, length: int) -> bool:
        """Writes a drawn token down; whether the answer is done."""
        completion = row.completion
        completion.log_probs.append(log_prob)
        if token in self.stops and (row.at is None or token not in row.at.after):
            completion.stop = token
            return True
        completion.ids.append(token)
        row.left -= 1
        if row.at is not None:
            row.at = row.at.after[token]
            completion.chosen = not row.at.after
        return completion.chosen or row.left == 0 or length >= self.room

    def _decode(self, tokens: list[int]) -> None:
        """Reads one token of every row; rows that are free read a zero into their first slot, which nobody sees."""
        alive = torch.tensor([row is not None for row in self.rows], device=self.device)
        self.cache.lengths_B = torch.where(alive, self.cache.lengths_B, 0)
        longest = max(row.length for row in self.rows if row is not None)
        reach = min(self.cache.slots, -(-longest // _REACH) * _REACH)
        tokens_B1 = torch.tensor(tokens, device=self.device)[:, None]
        hidden_B1D = self.model.hidden(tokens_B1, cache=self.cache, reach=reach, call=self.call)
        self.logits_BV = self.model.logits(hidden_B1D[:, -1])
        self.cache.lengths_B = self.cache.lengths_B + alive

    def shrink(self) -> None:
        """Only the live rows, once they are no more than half of all; on a GPU, where idle rows cost little and
        another number of them another graph, a quarter."""
        if self.live and self.live <= len(self.rows) // (4 if self.device.type == "cuda" else 2):
            kept = [place for place, row in enumerate(self.rows) if row is not None]
            self.cache = self.cache.keep(torch.tensor(kept, device=self.device))
            self.logits_BV = self.logits_BV[kept]
            self.rows = [self.rows[place] for place in kept]
            self._captured = None


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with alike, short of the last one of any."""
    first = prompts[0]
    most = min(map(len, prompts)) - 1
    for place in range(most):
        if any(prompt[place] != first[place] for prompt in prompts):
            return place
    return most
