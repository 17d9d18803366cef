"""How many rows a GPU works on at once where the settings leave it open: as many as its memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from herd.model.devices import device_memory
from herd.model.heads import trunk_of
from herd.model.sizes import Shape
from herd.train.batches import Batch, GlobalBatch
from herd.train.checkpoint import TrainState
from herd.train.cost import TrainingJob, fitting_micro_batch, usable_bytes
from herd.train.layout import ParallelLayout, TrainableParams
from herd.train.memory import training_memory
from herd.train.preferences import PreferenceBatch
from herd.train.settings import ComputeSettings

# Of a table of who may look at whom, a byte for each pair of tokens in a row, and what kernels make of it in 16 bits.
_TABLE_BYTES = 3


class MicroBatches:
    """Rows worked on at once, for every kind of batch that comes: chosen once, alike on all ranks, and told.

    memory: bytes that this process may have on its device, and those it holds there now. Of ranked answers no batch is
    as long as another, so that each is fitted by its own tokens; of another kind batches are worked on as they are.
    """

    def __init__(
        self, state: TrainState[Any], compute: ComputeSettings, layout: ParallelLayout,
        memory: Callable[[], tuple[float, float]] = device_memory,
    ) -> None:  # fmt: skip
        self._state, self._compute, self._layout, self._memory = state, compute, layout, memory
        self._chosen: dict[tuple[int, int], int | None] = {}
        self._free: float | None = None
        self._told = False

    def rows(self, batch: Any) -> int | None:
        """Of a part of `batch`, which is this rank's or the whole one; None where it is not fitted."""
        if self._layout.pipeline > 1:
            return None
        if isinstance(batch, PreferenceBatch):
            return self._prompts(batch)
        if not isinstance(batch, Batch):
            return None
        rows, length = batch.tokens_BT.shape
        own = rows if isinstance(batch.global_batch, GlobalBatch) else max(1, rows // self._layout.data)
        if (own, length) not in self._chosen:
            self._chosen[own, length] = self._choose(own, length)
        return self._chosen[own, length]

    def _choose(self, rows: int, length: int) -> int:
        available, others = self._available()
        shape: Shape = trunk_of(self._state.model).shape
        job = TrainingJob(
            shape, tokens=rows * length, length=length, batch_tokens=rows * length * self._layout.data,
            dtype=self._compute.dtype, recompute=self._compute.recompute, compiled=self._compute.compile,
            trainable=self._trainable(shape),
        )  # fmt: skip
        found = int(self._least(fitting_micro_batch(job, self._layout, available - others) or 1))
        if found < rows:
            print(
                f"{rows} rows of {length:,} tokens are worked on {found} at once: what {available / 1e9:.1f} GB hold "
                "by estimate; micro_batch sets another number",
                flush=True,
            )
        return found

    def _prompts(self, batch: PreferenceBatch) -> int:
        """How many prompts with their answers are worked on at once: of every rank's part of the batch, which all
        ranks see whole, the same."""
        if self._free is None:
            available, others = self._available()
            self._free = usable_bytes(self._least(available - others))
        own = batch.parts(self._layout.data)
        rows = max(len(part.preferences) for part in own)
        parts, most = 1, rows
        if not self._fit(own, 1):
            parts = min(2, rows)
            while parts < most:  # the fewest that fit; one prompt at once where none do
                middle = (parts + most) // 2
                parts, most = (parts, middle) if self._fit(own, middle) else (middle + 1, most)
        at_once = -(-rows // parts)
        if at_once < rows and not self._told:
            self._told = True
            tokens = max(part.packed_bound[1] for part in own)
            print(
                f"{rows} prompts with answers in rows of up to {tokens:,} tokens are worked on {at_once} at once: what "
                f"{self._free / 1e9:.1f} GB hold by estimate, and of other steps as many as fit; micro_batch sets a "
                "number for all",
                flush=True,
            )
        return at_once

    def _fit(self, own: Sequence[PreferenceBatch], count: int) -> bool:
        """Whether the fullest of `count` parts of any rank's prompts does."""
        shape: Shape = trunk_of(self._state.model).shape
        trainable, compute = self._trainable(shape), self._compute

        def taken(rows: int, length: int) -> float:
            memory = training_memory(
                shape, self._layout, length=length, rows=rows, micro_batches=count, trainable=trainable,
                dtype=compute.dtype, recompute=compute.recompute, compiled=compute.compile,
            )  # fmt: skip
            return memory.total + _TABLE_BYTES * rows * length**2

        assert self._free is not None
        sizes = {part.packed_bound for whole in own for part in whole.parts(count)}
        return all(taken(rows, length) <= self._free for rows, length in sizes)

    def _trainable(self, shape: Shape) -> TrainableParams:
        weights = [weight.numel() for weight in self._state.model.parameters() if weight.requires_grad]
        return TrainableParams(min(shape.num_params, sum(weights)))

    def _least(self, number: float) -> float:
        """Of all ranks: each forward pass gathers weights, so all have to make equally many."""
        if self._layout.devices == 1:
            return number
        device = next(self._state.model.parameters()).device
        least = torch.tensor(number, dtype=torch.float64, device=device)
        dist.all_reduce(least, dist.ReduceOp.MIN)
        return float(least)

    def _available(self) -> tuple[float, float]:
        """Bytes this process may have, and those it holds for other things than this training."""
        available, held = self._memory()
        moments = [
            value for row in self._state.optimizer.state.values() for value in row.values() if isinstance(value, Tensor)
        ]
        own = sum(_bytes(tensor) for tensor in (*self._state.model.parameters(), *moments))
        return available, max(0.0, held - own)


def _bytes(tensor: Tensor) -> int:
    """Of this rank's part of it."""
    whole: Any = tensor
    part = whole.to_local() if hasattr(whole, "to_local") else whole
    return part.numel() * part.element_size()


def micro_batches(state: TrainState[Any], strategy: Any) -> MicroBatches | None:
    """What chooses for `strategy`; None on a CPU, where a batch is worked on in halves."""
    device = next(state.model.parameters()).device
    if device.type != "cuda":
        return None
    layout = getattr(strategy, "layout", ParallelLayout())
    return MicroBatches(state, strategy.compute_context.settings, layout)
