"""The compiled half of the model on a CPU, in fp32: attention, the loss, and the reading of tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from herd.core import native

MODEL_KERNEL_SOURCES = Path(__file__).parent / "native"


@cache
def cpu_kernels() -> ctypes.CDLL | None:
    """The kernels, built if they are not yet; None, with a warning, where that is impossible: PyTorch does the same,
    more slowly."""
    return native.load_or_warn(MODEL_KERNEL_SOURCES, "PyTorch computes models on this CPU, more slowly")


def isa() -> str:
    """Which variant of the kernels was chosen when they were loaded: `baseline`, `avx2`, `avx512`; empty for none."""
    kernels = cpu_kernels()
    if kernels is None:
        return ""
    kernels.herd_isa.restype = ctypes.c_char_p
    return kernels.herd_isa().decode()


def readable(weights: Iterable[Tensor]) -> bool:
    """Whether the kernels are there and can read these: whole weights, on a CPU and in fp32."""
    expected = (nn.Parameter, "cpu", torch.float32)
    return cpu_kernels() is not None and all(
        (type(weight), weight.device.type, weight.dtype) == expected for weight in weights
    )


def require_cpu_kernels() -> ctypes.CDLL:
    """The kernels, for those who have seen that they are there."""
    kernels = cpu_kernels()
    assert kernels is not None
    return kernels


class Heads(ctypes.Structure):
    """A tensor [B, H, T, E] as the kernels take it: where it begins, and the steps from one row, head and token to the
    next. Those of E lie side by side."""

    _fields_ = (("data", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("batch", "head", "token")))

    @classmethod
    def of(cls, x: Tensor) -> Heads:
        assert x.stride(-1) == 1, "kernels read heads that lie in one piece"
        return cls(x.data_ptr(), *x.stride()[:3])


class PagedHeads(ctypes.Structure):
    """A cache [B, G, S, E] and the blocks of each row, [rows, N], as the kernels take them; both stay the caller's to
    keep alive."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("page", "head", "token")),
        ("table", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("columns", "size")),
    )

    @classmethod
    def of(cls, x: Tensor, table: Tensor) -> PagedHeads:
        assert x.stride(-1) == 1, "kernels read heads that lie in one piece"
        assert table.is_contiguous()
        return cls(x.data_ptr(), *x.stride()[:3], table.data_ptr(), table.shape[1], x.shape[2])


def address(x: Tensor | None) -> ctypes.c_void_p:
    """Of the first number; the caller keeps the tensor alive."""
    return ctypes.c_void_p(None if x is None else x.data_ptr())
