"""What makes training faster or smaller and leaves its result as it is, but for rounding."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from herd.core.extras import ExtraPackage, import_extra
from herd.model.attention_backends import attention_backend
from herd.model.fused import call_fused, fusable
from herd.model.transformer import call_eager, check_eager
from herd.train.settings import ComputeSettings


class ComputeContext:
    """A model made faster while a `with` block lasts, and as it was outside: evaluations have other lengths, for which
    nothing should be compiled."""

    def __init__(self, model: nn.Module, settings: ComputeSettings) -> None:
        check_eager(model)
        self.settings = settings
        self.trunks: list[Any] = [module for module in model.modules() if hasattr(module, "blocks")]
        self.device = next(model.parameters()).device
        self._fast: Callable[..., Tensor] | None = None
        self._lock, self._inside = threading.Lock(), 0
        self._local = threading.local()
        if settings.float8:
            _to_float8(model)
        if settings.compile:
            # What the compiler sees whole it can divide into what is kept and what is computed again.
            block_call = _recompute_cheap if settings.recompute == "selective" else call_eager
            self._fast = torch.compile(block_call, dynamic=False)
        elif settings.recompute == "selective":
            pass  # our own kernel keeps what it keeps
        elif settings.dtype == "fp32" and all(fusable(trunk) for trunk in self.trunks):
            self._fast = call_fused
        self._plain = call_eager
        if settings.recompute == "selective":
            self._plain = _recompute_cheap
        elif settings.recompute:
            self._plain = _recompute_block
            self._fast = partial(_recompute_block, self._fast) if self._fast is not None else None
        for trunk in self.trunks if settings.recompute else ():
            trunk.call = self._plain
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
        for trunk in self.trunks:
            shape = trunk.shape
            dtype = torch.float32 if settings.dtype == "fp32" else torch.bfloat16
            sizes = (shape.n_heads, shape.n_kv_heads, shape.max_seq_len, shape.head_dim)
            trunk.set_attention_backend(
                attention_backend(settings.attention, self.device, dtype, shape=sizes, features=shape.features)
            )

    def __enter__(self) -> Self:
        stack = contextlib.ExitStack()
        stack.enter_context(autocast(self.device, self.settings))
        if self._fast is not None:
            stack.enter_context(self._fast_blocks(self._fast))
        self._local.stack = stack
        return self

    def __exit__(self, *fault: Any) -> None:
        self._local.stack.close()

    @contextlib.contextmanager
    def _fast_blocks(self, fast: Callable[..., Tensor]) -> Iterator[None]:
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


def autocast(device: torch.device, compute: ComputeSettings) -> contextlib.AbstractContextManager[Any]:
    """Products in the type that the settings say."""
    return contextlib.nullcontext() if compute.dtype == "fp32" else torch.autocast(device.type, torch.bfloat16)


def _recompute_block(block: Callable[..., Tensor], *inputs: Any) -> Tensor:
    output = checkpoint(block, *inputs, use_reentrant=False)
    assert isinstance(output, Tensor)
    return output


# Products, and attention in one kernel, as torch calls them here.
_KEPT_OPERATORS = [
    getattr(torch.ops.aten, name).default
    for name in (
        "mm",
        "addmm",
        "bmm",
        "_scaled_dot_product_flash_attention",
        "_scaled_dot_product_efficient_attention",
        "_scaled_dot_product_cudnn_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
    )
    if hasattr(torch.ops.aten, name)
]
_KEEP_PRODUCTS = partial(create_selective_checkpoint_contexts, _KEPT_OPERATORS)


def _recompute_cheap(block: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """A block whose products and attention are kept, and all between them is computed again. Source: Korthikanti et al.
    2022, section 5, with attention kept, which its kernels never hold whole."""
    output = checkpoint(block, *inputs, use_reentrant=False, context_fn=_KEEP_PRODUCTS)
    assert isinstance(output, Tensor)
    return output


def _to_float8(model: nn.Module) -> None:
    float8 = import_extra(ExtraPackage("torchao.float8", "float8", "float8"))
    emulate = next(model.parameters()).device.type == "cpu"  # computes what a GPU would, slowly: for tests
    config = float8.Float8LinearConfig(emulate=emulate)
    float8.convert_to_float8_training(model, config=config, module_filter_fn=_is_wide)


def _is_wide(module: nn.Module, name: str) -> bool:
    """Which products gain by 8 bits: those of blocks, with both sides a multiple of 16; the output's errors are the
    loss's own."""
    return isinstance(module, nn.Linear) and "blocks." in name and all(side % 16 == 0 for side in module.weight.shape)
