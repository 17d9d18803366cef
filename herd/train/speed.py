"""What makes training faster or smaller and leaves its result as it is, but for rounding."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from herd.core.extras import import_extra
from herd.core.settings import Positive, settings
from herd.model.attending import attending
from herd.model.fused import fits, fused
from herd.model.transformer import check_eager, plainly


@settings
class SpeedSettings:
    """compiled: every block by torch.compile; without it, a CPU in fp32 takes a kernel of our own. precision: of the
    products; weights and their sums stay fp32; float8 takes a recent GPU and the package torchao. recompute: keep only
    the blocks' inputs and compute the rest again on the way back (Chen et al. 2016). attention: auto measures on a GPU,
    and takes our own kernel on a CPU. micro_rows: rows worked on at once; absent, a half of the batch on a CPU and all
    of it elsewhere. A CPU of one core is 1 to 4 % faster with all of it, which two cores cannot share."""

    compiled: bool = False
    precision: Literal["fp32", "bf16", "float8"] = "fp32"
    recompute: bool = False
    attention: Literal["auto", "sdpa", "blockwise", "flex", "varlen"] = "auto"
    micro_rows: Positive | None = None


PLAIN = SpeedSettings()


class Quick:
    """A model made faster while a `with` block lasts, and as it was outside: evaluations have other lengths, for which
    nothing should be compiled."""

    def __init__(self, model: nn.Module, settings: SpeedSettings) -> None:
        check_eager(model)
        self.settings = settings
        self.trunks: list[Any] = [one for one in model.modules() if hasattr(one, "blocks")]
        self.device = next(model.parameters()).device.type
        self._fast: Callable[..., Tensor] | None = None
        self._lock, self._inside = threading.Lock(), 0
        self._local = threading.local()
        if settings.precision == "float8":
            _to_float8(model)
        if settings.compiled:
            self._fast = torch.compile(plainly, dynamic=False)
        elif settings.precision == "fp32" and all(fits(trunk) for trunk in self.trunks):
            self._fast = fused
        self._plain = plainly
        if settings.recompute:
            self._plain = _recomputed
            self._fast = partial(_recomputed, self._fast) if self._fast is not None else None
            for trunk in self.trunks:
                trunk.call = self._plain
        if self.device == "cuda":
            torch.set_float32_matmul_precision("high")
        for trunk in self.trunks:
            shape = trunk.shape
            dtype = torch.float32 if settings.precision == "fp32" else torch.bfloat16
            sizes = (shape.heads, shape.kv_heads, shape.context, shape.head_width)
            device = next(model.parameters()).device
            way = attending(settings.attention, device, dtype, shape=sizes, features=shape.features)
            trunk.use(way)

    def __enter__(self) -> Self:
        stack = contextlib.ExitStack()
        if self.settings.precision != "fp32":
            stack.enter_context(torch.autocast(self.device, torch.bfloat16))
        if self._fast is not None:
            stack.enter_context(self._engaged(self._fast))
        self._local.stack = stack
        return self

    def __exit__(self, *fault: Any) -> None:
        self._local.stack.close()

    @contextlib.contextmanager
    def _engaged(self, fast: Callable[..., Tensor]) -> Iterator[None]:
        """Blocks are called compiled as long as any thread is inside; all of them share what is compiled for one."""
        with self._lock:
            self._inside += 1
            for trunk in self.trunks:
                trunk.call = fast
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    for trunk in self.trunks:
                        trunk.call = self._plain


def _recomputed(block: Callable[..., Tensor], *inputs: Any) -> Tensor:
    found = checkpoint(block, *inputs, use_reentrant=False)
    assert isinstance(found, Tensor)
    return found


def _to_float8(model: nn.Module) -> None:
    float8 = import_extra("torchao.float8", "float8", "precision float8")
    emulate = next(model.parameters()).device.type == "cpu"  # computes what a GPU would, slowly: for tests
    config = float8.Float8LinearConfig(emulate=emulate)
    float8.convert_to_float8_training(model, config=config, module_filter_fn=_is_wide)


def _is_wide(module: nn.Module, name: str) -> bool:
    """Which products gain by 8 bits: those of blocks, with both sides a multiple of 16; the output's errors are the
    loss's own."""
    return isinstance(module, nn.Linear) and "blocks." in name and all(side % 16 == 0 for side in module.weight.shape)
