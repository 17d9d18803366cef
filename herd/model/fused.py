"""A block on a CPU in fp32 as one call: products, and kernels of our own for all between them.

Nothing that lies between two products is gone over more than once, little is kept for the way back, and two threads do
not wait for each other's Python. The formulae are those of `transformer.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from herd.model.accounting import unread
from herd.model.attending import Blockwise
from herd.model.kernels import loaded, readable
from herd.model.products import is_faster, sgemm
from herd.model.transformer import Block, RMSNorm, Transformer, plainly


def fits(trunk: nn.Module) -> bool:
    """Whether the blocks of `trunk` can be called this way: whole, on a CPU and in fp32."""
    blocks = list(trunk.blocks.children())  # type: ignore[union-attr]  # a pipeline holds them by number
    plain = all(type(block) is Block and _is_plain(block) for block in blocks)
    norm = trunk.norm  # none where a pipeline's piece ends before the last layer
    plain = plain and (norm is None or (type(norm) is RMSNorm and not unread(norm, (norm.weight,))))
    weights = (weight for block in blocks for weight in block.parameters())
    return plain and readable(weights) and (sgemm() is not None or is_faster())


def _is_plain(block: Block) -> bool:
    """Products by weights and nothing else: no adapters, no 8 bits, and no weight that the kernel would leave out."""
    kinds = {type(part) for part in _parts(block)}
    return kinds <= {nn.Linear, RMSNorm} and not unread(block, (part.weight for part in _parts(block)))


def _parts(block: Any) -> tuple[Any, ...]:
    """In the order of `block.hpp`."""
    attention, forward = block.attention, block.feed_forward
    parts = (block.attention_norm, attention.query, attention.key, attention.value, attention.output)
    return (*parts, block.feed_forward_norm, forward.gate, forward.up, forward.down)


@contextlib.contextmanager
def quickly(model: Transformer) -> Iterator[None]:
    """Calls the model's parts this way while it lasts, if they fit and products are fp32, and leaves it as it was."""
    kept = model.call, model.attending
    if not torch.is_autocast_enabled("cpu") and fits(model):
        model.call = fused
        model.use(Blockwise())
    try:
        yield
    finally:
        model.call = kept[0]
        model.use(kept[1])


def fused(part: Any, x_BTD: Tensor, *places: Any) -> Tensor:
    """The output of a block, or of the norm after the last."""
    if type(part) is RMSNorm:
        found = _Norm.apply(x_BTD.contiguous(), part.weight, part.eps)  # type: ignore[misc]
        assert isinstance(found, Tensor)
        return found
    return _block(part, x_BTD, *places)


def _block(block: Any, x_BTD: Tensor, cos_TE: Tensor, sin_TE: Tensor, mask: Any) -> Tensor:
    """Called plainly where another way to attend was chosen."""
    attention = block.attention
    if type(attention.attending) is not Blockwise:
        return plainly(block, x_BTD, cos_TE, sin_TE, mask)
    places = (cos_TE.contiguous(), sin_TE.contiguous(), mask)
    numbers = attention.head_width, block.attention_norm.eps
    found = _Fused.apply(x_BTD.contiguous(), places, numbers, *(part.weight for part in _parts(block)))  # type: ignore[misc]
    assert isinstance(found, Tensor)
    return found


class _Shape(ctypes.Structure):
    """As `block.hpp` has it."""

    _names = ("batch", "tokens", "width", "heads", "groups", "head_width", "hidden")
    _fields_ = (
        *((name, ctypes.c_int64) for name in _names),
        ("eps", ctypes.c_double),
        ("sgemm", ctypes.c_void_p),
    )


_Weights, _Places = ctypes.c_void_p * 9, ctypes.c_void_p * 3


def _shape(x_BTD: Tensor, numbers: tuple[int, float], query: Tensor, key: Tensor, gate: Tensor) -> _Shape:
    head_width, eps = numbers
    return _Shape(*x_BTD.shape, len(query) // head_width, len(key) // head_width, head_width, len(gate), eps, sgemm())


def _at(*tensors: Tensor | None) -> list[int | None]:
    return [None if one is None else one.data_ptr() for one in tensors]


class _Fused(torch.autograd.Function):
    """Weights in the order of `block.hpp`."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, places: tuple[Any, ...], numbers: tuple[int, float], *weights: Tensor) -> Any:
        weights = tuple(weight.contiguous() for weight in weights)
        shape = _shape(x_BTD, numbers, weights[1], weights[2], weights[6])
        kept, out_BTD = x_BTD.new_empty(_kept(shape)), torch.empty_like(x_BTD)
        x, held, out = _at(x_BTD, kept, out_BTD)
        _function("herd_block", 6)(shape, _Weights(*_at(*weights)), _Places(*_at(*places)), x, held, out)
        ctx.save_for_backward(x_BTD, kept, *places, *weights)
        ctx.numbers = numbers
        return out_BTD

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        x_BTD, kept, cos, sin, starts, *weights = ctx.saved_tensors
        shape = _shape(x_BTD, ctx.numbers, weights[1], weights[2], weights[6])
        slope, x_slope = slopes[0].contiguous(), torch.empty_like(x_BTD)
        wanted = ctx.needs_input_grad[3:]
        found = [torch.empty_like(weight) if want else None for weight, want in zip(weights, wanted, strict=True)]
        for some in (slice(1, 4), slice(6, 8)):  # one product makes all of query, key and value; of gate and up
            if any(wanted[some]):
                sizes = [len(weight) for weight in weights[some]]
                found[some] = weights[0].new_empty(sum(sizes), len(weights[0])).split(sizes)
        given = _at(x_BTD, kept, slope, x_slope)
        tables = _Weights(*_at(*weights)), _Places(*_at(cos, sin, starts))
        _function("herd_block_back", 8)(shape, *tables, *given, _Weights(*_at(*found)))
        return x_slope, None, None, *found


class _Norm(torch.autograd.Function):
    """`RMSNorm`, whose way back PyTorch makes of a dozen operations."""

    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, gain_D: Tensor, eps: float) -> Tensor:
        out_BTD = torch.empty_like(x_BTD)
        _norms("herd_norms", 3)(*_rows(x_BTD), eps, *_at(x_BTD, gain_D, out_BTD))
        ctx.save_for_backward(x_BTD, gain_D)
        ctx.eps = eps
        return out_BTD

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        x_BTD, gain_D = ctx.saved_tensors
        x_slope, gain_slope = torch.zeros_like(x_BTD), torch.zeros_like(gain_D)
        given = _at(x_BTD, gain_D, slopes[0].contiguous(), x_slope, gain_slope)
        _norms("herd_norms_back", 5)(*_rows(x_BTD), ctx.eps, *given)
        return x_slope, gain_slope, None


def _rows(x_BTD: Tensor) -> tuple[int, int]:
    return x_BTD.numel() // x_BTD.shape[-1], x_BTD.shape[-1]


@cache
def _norms(name: str, tensors: int) -> Any:
    found = getattr(loaded(), name)
    found.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_float, *[ctypes.c_void_p] * tensors]
    found.restype = None
    return found


def _kept(shape: _Shape) -> int:
    """How many numbers are kept for the way back."""
    return int(_function("herd_block_kept", 1)(shape))


@cache
def _function(name: str, numbers: int) -> Any:
    """A kernel that takes a shape, weights, places and then the addresses of so many tensors, or fewer of these."""
    found = getattr(loaded(), name)
    by_reference = [ctypes.POINTER(_Shape), ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_void_p)]
    found.argtypes = (by_reference + [ctypes.c_void_p] * 5)[:numbers]
    found.restype = ctypes.c_int64
    return found
