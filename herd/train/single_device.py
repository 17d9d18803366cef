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

from herd.core.executor import Executor
from herd.train.batches import Batches
from herd.train.compute import ComputeContext, autocast
from herd.train.integrity import MemoryIntegrity
from herd.train.muon import MapFn
from herd.train.optimizer import Optimizer

# Every batch is worked on in two halves on a CPU, whose gradients are added. Two numbers have one sum, whichever comes
# first, so one thread and two give the same bits.
BATCH_HALVES = 2


class Splittable(Protocol):
    """A batch that can be worked on in parts. loss_denominator: what the loss is divided by, such as its tokens."""

    @property
    def loss_denominator(self) -> float: ...
    def parts(self, count: int) -> Sequence[Self]: ...
    def to(self, device: torch.device) -> Self: ...


def num_rows(batch: Splittable) -> int:
    """As many as it makes parts."""
    return len(batch.parts(1)[0].parts(10**9))


SplittableT = TypeVar("SplittableT", bound=Splittable)
MetricSums = dict[str, float]
# The loss summed over a part, and other sums to log; all are divided by the whole batch's weight.
LossFn = Callable[[nn.Module, SplittableT], tuple[Tensor, MetricSums]]


class SingleDeviceStrategy:
    """One device. executor: its workers say how many threads may work now; that may change from step to step."""

    def __init__(self, model: nn.Module, executor: Executor, compute_context: ComputeContext) -> None:
        self.model, self.executor, self.compute_context = model, executor, compute_context
        self.integrity = MemoryIntegrity()  # no other device holds any of it, and nothing is compared
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        self.device = self.weights[0].device
        if self.device.type == "cpu":
            _keep_memory()
            # Both halves may be at work: with all cores for each, their threads would wait for one another.
            torch.set_num_threads(max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // BATCH_HALVES)))
        self._threads = ThreadPoolExecutor(BATCH_HALVES)
        self._warm = False

    def batch(self, batches: Batches[SplittableT], step: int) -> SplittableT:
        """All rows of a step."""
        return batches.batch(step)

    def gradients(
        self, batch: SplittableT, loss_fn: LossFn[SplittableT], micro_batch: int | None
    ) -> tuple[float, MetricSums]:
        """The loss, divided by the batch's denominator, and what else is logged; gradients stand in the weights."""
        total = batch.loss_denominator
        rows = num_rows(batch)
        num_parts = BATCH_HALVES if self.device.type == "cpu" else 1
        parts = batch.to(self.device).parts(num_parts if micro_batch is None else -(-rows // micro_batch))

        def of_part(part: SplittableT) -> tuple[Tensor, MetricSums, tuple[Tensor, ...]]:
            with self.compute_context:
                value, sums = loss_fn(self.model, part)
                value = value / total
                return value.detach(), sums, torch.autograd.grad(value, self.weights)

        value, sums = 0.0, {}
        for weight in self.weights:
            weight.grad = None
        # On a GPU one after another: two would want the memory of two.
        side_by_side = BATCH_HALVES if self.device.type == "cpu" else 1
        for start in range(0, len(parts), side_by_side):
            pair = parts[start : start + side_by_side]
            for part_result in list(self._map(of_part, pair)):
                value += float(part_result[0])
                _add_sums(sums, part_result[1], total)
                self._add(part_result[2])
        self._warm = True
        return value, sums

    def optimizer_step(self, optimizer: Optimizer) -> None:
        optimizer.step(map_fn=self._map)

    @property
    def _map(self) -> MapFn:
        # The first time compiles, which two threads at once would only do twice.
        use_threads = self.executor.workers > 1 and self.device.type == "cpu" and self._warm
        return self._threads.map if use_threads else map

    def _add(self, gradients: Sequence[Tensor]) -> None:
        if self.weights[0].grad is None:
            for weight, gradient in zip(self.weights, gradients, strict=True):
                weight.grad = gradient
        else:
            torch._foreach_add_([weight.grad for weight in self.weights], gradients)  # pyright: ignore

    def clip_gradients(self, max_norm: float) -> float:
        """The norm of all gradients, which are shortened to `max_norm` where it is longer."""
        norm = nn.utils.get_total_norm([weight.grad for weight in self.weights if weight.grad is not None])
        if norm > max_norm:  # otherwise all would be multiplied by one
            nn.utils.clip_grads_with_norm_(self.weights, max_norm, norm)
        return float(norm)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[Any]:
        """The model, to be asked and not taught while this lasts."""
        self.model.eval()
        with autocast(self.device, self.compute_context.settings):
            yield self.model

    def broadcast(self, value: bool) -> bool:
        """What the first rank says."""
        return value

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


def _add_sums(sums: dict[str, float], more: MetricSums, total: float) -> None:
    for name, amount in more.items():
        sums[name] = sums.get(name, 0.0) + amount / total


def sums_to_metrics(sums: MetricSums, denominator: float) -> MetricSums:
    """Sums as they are logged: the loss of a source is divided by its own tokens, which are counted.

    denominator: what all sums were divided by.
    """
    metrics: dict[str, Any] = {}
    for name, amount in sums.items():
        kind, _, source = name.partition("/")
        tokens = sums.get(f"tokens/{source}", 0.0)
        if kind == "loss" and source:
            if tokens:
                metrics[name] = amount / tokens
        elif kind == "tokens" and source:
            metrics[name] = float(round(amount * denominator))
        else:
            metrics[name] = amount
    return metrics
