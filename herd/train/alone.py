"""Gradients on one device: a CPU with as many threads as there are halves of a batch, or a GPU."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from herd.core.places import Place
from herd.train.integrity import Held
from herd.train.speed import Quick, autocast

# Every batch is worked on in two halves on a CPU, whose gradients are added. Two numbers have one sum, whichever comes
# first, so one thread and two give the same bits.
PARTS = 2


class Splittable(Protocol):
    """A batch that can be worked on in parts. weight: what the loss is divided by, such as its tokens."""

    @property
    def weight(self) -> float: ...
    def parts(self, count: int) -> Sequence[Self]: ...
    def to(self, device: torch.device) -> Self: ...


def rows_in(batch: Splittable) -> int:
    """As many as it makes parts."""
    return len(batch.parts(1)[0].parts(10**9))


B = TypeVar("B", bound=Splittable)
Sums = dict[str, float]
# The loss summed over a part, and other sums to log; all are divided by the whole batch's weight.
Loss = Callable[[nn.Module, B], tuple[Tensor, Sums]]


class Alone:
    """One device. place: its workers say how many threads may work now; that may change from step to step."""

    def __init__(self, model: nn.Module, place: Place, quick: Quick) -> None:
        self.model, self.place, self.quick = model, place, quick
        self.held = Held()  # no other device holds any of it, and nothing is compared
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.device = self.weights[0].device
        if self.device.type == "cpu":
            _keep_memory()
            # Both halves may be at work: with all cores for each, their threads would wait for one another.
            torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // PARTS)))
        self._threads = ThreadPoolExecutor(PARTS)
        self._warm = False

    def gradients(self, batch: B, loss: Loss[B], micro_batch: int | None) -> tuple[float, Sums]:
        """The loss, divided by the batch's weight, and what else is logged; gradients stand in the weights."""
        total = batch.weight
        rows = rows_in(batch)
        usual = PARTS if self.device.type == "cpu" else 1
        parts = batch.to(self.device).parts(usual if micro_batch is None else -(-rows // micro_batch))

        def of_part(part: B) -> tuple[Tensor, Sums, tuple[Tensor, ...]]:
            with self.quick:
                value, sums = loss(self.model, part)
                value = value / total
                return value.detach(), sums, torch.autograd.grad(value, self.weights)

        # The first time compiles, which two threads at once would only do twice.
        several = self.place.workers > 1 and self.device.type == "cpu" and self._warm
        value, sums = 0.0, {}
        for weight in self.weights:
            weight.grad = None
        for start in range(0, len(parts), PARTS):
            pair = parts[start : start + PARTS]
            for found in list((self._threads.map if several else map)(of_part, pair)):
                value += float(found[0])
                _count_in(sums, found[1], total)
                self._add(found[2])
        self._warm = True
        return value, sums

    def _add(self, gradients: Sequence[Tensor]) -> None:
        if self.weights[0].grad is None:
            for weight, gradient in zip(self.weights, gradients, strict=True):
                weight.grad = gradient
        else:
            torch._foreach_add_([weight.grad for weight in self.weights], gradients)  # pyright: ignore

    def clip(self, most: float) -> float:
        """The norm of all gradients, which are shortened to `most` where it is longer."""
        norm = nn.utils.get_total_norm([weight.grad for weight in self.weights if weight.grad is not None])
        if norm > most:  # otherwise all would be multiplied by one
            nn.utils.clip_grads_with_norm_(self.weights, most, norm)
        return float(norm)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[Any]:
        """The model, to be asked and not taught while this lasts."""
        self.model.eval()
        with autocast(self.device, self.quick.settings):
            yield self.model

    def agree(self, value: bool) -> bool:
        """What the first rank says."""
        return value

    def share(self, batch: B) -> B:
        """The part of a batch that is this device's."""
        return batch

    def close(self) -> None:
        self._threads.shutdown()


def _keep_memory() -> None:
    """Lets what is freed stay with the process. Every step asks for the same sizes again, and memory that went back to
    the system costs a fault a page: 3 % of a step at a million weights. Only glibc's allocator can be told."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "gnu_get_libc_version"):
        for number, value in _MALLOPT.items():
            libc.mallopt(number, value)


# As malloc.h numbers them: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, and M_ARENA_MAX, so that threads share what is free.
_MALLOPT = {-1: 1 << 30, -3: 1 << 30, -8: 1}


def _count_in(sums: dict[str, float], more: Sums, total: float) -> None:
    for name, amount in more.items():
        sums[name] = sums.get(name, 0.0) + amount / total


def by_source(sums: Sums, weight: float) -> Sums:
    """Sums as they are logged: the loss of a source is divided by its own tokens, which are counted.

    weight: what all sums were divided by.
    """
    found: dict[str, Any] = {}
    for name, amount in sums.items():
        kind, _, source = name.partition("/")
        tokens = sums.get(f"tokens/{source}", 0.0)
        if kind == "loss" and source:
            if tokens:
                found[name] = amount / tokens
        elif kind == "tokens" and source:
            found[name] = float(round(amount * weight))
        else:
            found[name] = amount
    return found
