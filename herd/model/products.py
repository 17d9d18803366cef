"""Products of matrices on a CPU in fp32: by our kernel where it is the faster one, else by PyTorch's library.

Which one it is follows from the processor and the number of threads alone: sums are rounded in another order, and a run
that is taken up again must end with the same bits.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from herd.model.kernels import address, cpu_kernels, require_cpu_kernels


def sgemm() -> int | None:
    """Where the product that blocks are to call begins; None where that is ours, or where the library hides its own."""
    return None if own_kernel_is_faster() else _blas_sgemm()


def own_kernel_is_faster() -> bool:
    """Whether our kernel, which works on one thread, is the faster one here (measured: docs/decisions/training.md)."""
    return torch.get_num_threads() == 1 and cpu_kernels() is not None and _suits_processor()


@cache
def _suits_processor() -> bool:
    return bool(require_cpu_kernels().herd_product_is_faster())


@cache
def _blas_sgemm() -> int | None:
    for folder in Path(torch.__file__).parent.glob("lib/libtorch_cpu.*"):
        try:
            return ctypes.cast(ctypes.CDLL(str(folder)).sgemm_, ctypes.c_void_p).value
        except (AttributeError, OSError):
            continue
    return None


def matmul(a: Tensor, b: Tensor, out: Tensor, *, add: bool = False) -> Tensor:
    """`a @ b` in `out`, or added to what it holds: [M, K] by [K, N]."""
    operands = a, b, out
    plain = (
        all((tensor.device.type, tensor.dtype) == ("cpu", torch.float32) for tensor in operands)
        and not torch.is_grad_enabled()
    )
    if plain and out.stride(1) == 1 and all(1 in tensor.stride() for tensor in operands) and own_kernel_is_faster():
        assert a.shape[1] == b.shape[0], "matrices that do not meet"
        assert out.shape == (a.shape[0], b.shape[1]), "a product of another shape"
        sizes = [ctypes.c_int64(size) for size in (*out.shape, a.shape[1])]
        matrices = [ctypes.byref(_Matrix.of(tensor)) for tensor in (a, b)]
        require_cpu_kernels().herd_product(*sizes, *matrices, address(out), ctypes.c_int64(out.stride(0)), int(add))
        return out
    return out.addmm_(a, b) if add else torch.mm(a, b, out=out)


class _Matrix(ctypes.Structure):
    """As `products.hpp` has it."""

    _fields_ = (("data", ctypes.c_void_p), ("step", ctypes.c_int64), ("turned", ctypes.c_bool))

    @classmethod
    def of(cls, x: Tensor) -> _Matrix:
        turned = x.stride(1) != 1
        return cls(x.data_ptr(), x.stride(0 if not turned else 1), turned)
