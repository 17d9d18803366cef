"""A block on a CPU in fp32 as one call: products, and kernels of our own for all between them.

Nothing that lies between two products is gone over more than once, little is kept for the way back, and two threads do
not wait for each other's Python. The formulae are those of `transformer.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from herd.model.accounting import unread_weights
from herd.model.architecture import LAYER_OR_LENGTH_FEATURES, ROPE_TABLE_FEATURES, SIZE_FEATURES
from herd.model.attention_backends import Blockwise
from herd.model.kernels import readable, require_cpu_kernels
from herd.model.products import own_kernel_is_faster, sgemm
from herd.model.transformer import RMSNorm, Transformer, TransformerBlock, call_eager

# A window is where a token's document begins, as far as the kernel knows, and every layer is given its own tables.
SUPPORTED_FEATURES = SIZE_FEATURES | ROPE_TABLE_FEATURES | LAYER_OR_LENGTH_FEATURES | {"sliding_window"}


def fusable(trunk: nn.Module) -> bool:
    """Whether the blocks of `trunk` can be called this way: whole, on a CPU and in fp32, and with no feature beside
    SUPPORTED_FEATURES."""
    if not trunk.shape.features <= SUPPORTED_FEATURES:  # type: ignore[union-attr]
        return False
    blocks = list(trunk.blocks.children())  # type: ignore[union-attr]  # a pipeline holds them by number
    plain = all(type(block) is TransformerBlock and _is_plain(block) for block in blocks)
    norm = trunk.norm  # none where a pipeline's piece ends before the last layer
    plain = plain and (norm is None or (type(norm) is RMSNorm and not unread_weights(norm, (norm.weight,))))
    weights = itertools.chain.from_iterable(block.parameters() for block in blocks)
    return plain and readable(weights) and (sgemm() is not None or own_kernel_is_faster())


def _is_plain(block: TransformerBlock) -> bool:
    """Products by weights and nothing else: no adapters, no 8 bits, and no weight that the kernel would leave out."""
    kinds = {type(part) for part in _parts(block)}
    return kinds <= {nn.Linear, RMSNorm} and not unread_weights(block, (part.weight for part in _parts(block)))


def _parts(block: Any) -> tuple[Any, ...]:
    """In the order of `block.hpp`."""
    attention, forward = block.attention, block.feed_forward
    parts = (block.attention_norm, attention.query, attention.key, attention.value, attention.output)
    return (*parts, block.feed_forward_norm, forward.gate, forward.up, forward.down)


@contextlib.contextmanager
def fused_kernels(model: Transformer) -> Iterator[None]:
    """Calls the model's parts this way while it lasts, if they fit and products are fp32, and leaves it as it was."""
    previous = model.call, model.attention_backend
    if not torch.is_autocast_enabled("cpu") and fusable(model):
        model.call = call_fused
        model.set_attention_backend(Blockwise())
    try:
        yield
    finally:
        model.call = previous[0]
        model.set_attention_backend(previous[1])


def call_fused(module: Any, x_BTD: Tensor, *places: Any) -> Tensor:
    """The output of a block, or of the norm after the last."""
    if type(module) is RMSNorm:
        out = _Norm.apply(x_BTD.contiguous(), module.weight, module.eps)  # type: ignore[misc]
        assert isinstance(out, Tensor)
        return out
    return _block(module, x_BTD, *places)


def _block(block: Any, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor, mask: Any) -> Tensor:
    """Called plainly where another way to attend was chosen."""
    attention = block.attention
    if type(attention.attention_backend) is not Blockwise:
        return call_eager(block, x_BTD, cos_TE, sin_TE, mask)
    places = (cos_TE.contiguous(), sin_TE.contiguous(), mask)
    numbers = attention.head_dim, block.attention_norm.eps
    out = _Fused.apply(x_BTD.contiguous(), places, numbers, *(part.weight for part in _parts(block)))  # type: ignore[misc]
    assert isinstance(out, Tensor)
    return out


class _Shape(ctypes.Structure):
    """As `block.hpp` has it."""

    _names = ("batch", "tokens", "width", "heads", "groups", "head_dim", "hidden")
    _fields_ = (
        *((name, ctypes.c_int64) for name in _names),
        ("eps", ctypes.c_double),
        ("sgemm", ctypes.c_void_p),
    )


_Weights, _Places = ctypes.c_void_p * 9, ctypes.c_void_p * 3


def _shape(x_BTD: Tensor, numbers: tuple[int, float], query: Tensor, key: Tensor, gate: Tensor) -> _Shape:
    head_dim, eps = numbers
    # A tensor's own `len` is Python, and takes as long as the rest of this.
    rows = [weight.shape[0] for weight in (query, key, gate)]
    return _Shape(*x_BTD.shape, rows[0] // head_dim, rows[1] // head_dim, head_dim, rows[2], eps, sgemm())


def _addresses(*tensors: Tensor | None) -> list[int | None]:
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


class _Fused(torch.autograd.Function):
    """Weights in the order of `block.hpp`."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, places: tuple[Any, ...], numbers: tuple[int, float], *weights: Tensor) -> Any:
        weights = tuple(weight.contiguous() for weight in weights)
        shape = _shape(x_BTD, numbers, weights[1], weights[2], weights[6])
        saved, out_BTD = x_BTD.new_empty(_saved_size(shape)), torch.empty_like(x_BTD)
        x, saved_address, out = _addresses(x_BTD, saved, out_BTD)
        _block_kernel("herd_block", 6)(
            shape, _Weights(*_addresses(*weights)), _Places(*_addresses(*places)), x, saved_address, out
        )
        ctx.save_for_backward(x_BTD, saved, *places, *weights)
        ctx.numbers = numbers
        return out_BTD

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        x_BTD, saved, cos, sin, starts, *weights = ctx.saved_tensors
        shape = _shape(x_BTD, ctx.numbers, weights[1], weights[2], weights[6])
        grad, x_grad = grads[0].contiguous(), torch.empty_like(x_BTD)
        grad_flags = ctx.needs_input_grad[3:]
        weight_grads = [
            torch.empty_like(weight) if flag else None for weight, flag in zip(weights, grad_flags, strict=True)
        ]
        for group in (slice(1, 4), slice(6, 8)):  # one product makes all of query, key and value; of gate and up
            if any(grad_flags[group]):
                sizes = [weight.shape[0] for weight in weights[group]]
                weight_grads[group] = weights[0].new_empty(sum(sizes), x_BTD.shape[-1]).split(sizes)
        addresses = _addresses(x_BTD, saved, grad, x_grad)
        tables = _Weights(*_addresses(*weights)), _Places(*_addresses(cos, sin, starts))
        _block_kernel("herd_block_back", 8)(shape, *tables, *addresses, _Weights(*_addresses(*weight_grads)))
        return x_grad, None, None, *weight_grads


class _Norm(torch.autograd.Function):
    """`RMSNorm`, whose way back PyTorch makes of a dozen operations."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, gain_D: Tensor, eps: float) -> Tensor:
        out_BTD = torch.empty_like(x_BTD)
        _norm_kernel("herd_norms", 3)(*_rows(x_BTD), eps, *_addresses(x_BTD, gain_D, out_BTD))
        ctx.save_for_backward(x_BTD, gain_D)
        ctx.eps = eps
        return out_BTD

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x_BTD, gain_D = ctx.saved_tensors
        x_grad, gain_grad = torch.zeros_like(x_BTD), torch.zeros_like(gain_D)
        addresses = _addresses(x_BTD, gain_D, grads[0].contiguous(), x_grad, gain_grad)
        _norm_kernel("herd_norms_back", 5)(*_rows(x_BTD), ctx.eps, *addresses)
        return x_grad, gain_grad, None


def _rows(x_BTD: Tensor) -> tuple[int, int]:
    return x_BTD.numel() // x_BTD.shape[-1], x_BTD.shape[-1]


@cache
def _norm_kernel(name: str, tensors: int) -> Any:
    kernel = getattr(require_cpu_kernels(), name)
    kernel.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_float, *[ctypes.c_void_p] * tensors]
    kernel.restype = None
    return kernel


def _saved_size(shape: _Shape) -> int:
    """How many numbers are kept for the way back."""
    return int(_block_kernel("herd_block_kept", 1)(shape))


@cache
def _block_kernel(name: str, numbers: int) -> Any:
    """A kernel that takes a shape, weights, places and then the addresses of so many tensors, or fewer of these."""
    kernel = getattr(require_cpu_kernels(), name)
    by_reference = [ctypes.POINTER(_Shape), ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p)]
    kernel.argtypes = (by_reference + [ctypes.c_void_p] * 5)[:numbers]
    kernel.restype = ctypes.c_int64
    return kernel
