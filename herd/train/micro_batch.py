"""How many rows a GPU works on at once where the settings leave it open: as many as its memory holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from herd.model.devices import device_memory
from herd.model.heads import trunk_of
from herd.model.sizes import Shape
from herd.train.batches import Batch, GlobalBatch
from herd.train.checkpoint import TrainState
from herd.train.cost import TrainingJob, fitting_micro_batch
from herd.train.layout import ParallelLayout, TrainableParams
from herd.train.settings import ComputeSettings


class MicroBatches:
    """Rows worked on at once, for every kind of batch that comes: chosen once, alike on all ranks, and told.

    memory: bytes that this process may have on its device, and those it holds there now. Only rows of tokens are
    fitted; batches of another kind, such as ranked answers, are worked on as they are.
    """

    def __init__(
        self, state: TrainState[Any], compute: ComputeSettings, layout: ParallelLayout,
        memory: Callable[[], tuple[float, float]] = device_memory,
    ) -> None:  # fmt: skip
        self._state, self._compute, self._layout, self._memory = state, compute, layout, memory
        self._chosen: dict[tuple[int, int], int | None] = {}

    def rows(self, batch: Any) -> int | None:
        """Of a part of `batch`, which is this rank's or the whole one; None where it is not fitted."""
        if not isinstance(batch, Batch) or self._layout.pipeline > 1:
            return None
        rows, length = batch.tokens_BT.shape
        own = rows if isinstance(batch.global_batch, GlobalBatch) else max(1, rows // self._layout.data)
        if (own, length) not in self._chosen:
            self._chosen[own, length] = self._choose(own, length)
        return self._chosen[own, length]

    def _choose(self, rows: int, length: int) -> int:
        available, others = self._available()
        shape: Shape = trunk_of(self._state.model).shape
        weights = [weight.numel() for weight in self._state.model.parameters() if weight.requires_grad]
        job = TrainingJob(
            shape, tokens=rows * length, length=length, batch_tokens=rows * length * self._layout.data,
            dtype=self._compute.dtype, recompute=self._compute.recompute, compiled=self._compute.compile,
            trainable=TrainableParams(min(shape.num_params, sum(weights))),
        )  # fmt: skip
        found = fitting_micro_batch(job, self._layout, available - others) or 1
        if self._layout.devices > 1:  # each forward pass gathers weights, so all have to make equally many
            least = torch.tensor(found, device=next(self._state.model.parameters()).device)
            dist.all_reduce(least, dist.ReduceOp.MIN)
            found = int(least)
        if found < rows:
            print(
                f"{rows} rows of {length:,} tokens are worked on {found} at once: what {available / 1e9:.1f} GB hold "
                "by estimate; micro_batch sets another number",
                flush=True,
            )
        return found

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
