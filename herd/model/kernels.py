"""The compiled half of training on a CPU: attention and the loss, in fp32."""

from __future__ import annotations

import ctypes
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from herd.core import native
from herd.core.errors import HerdError

if TYPE_CHECKING:
    from torch import Tensor

SOURCES = Path(__file__).parent / "native"


@cache
def library() -> ctypes.CDLL | None:
    """The kernels, built if they are not yet; None, with a warning, where that is impossible: PyTorch does the same,
    more slowly."""
    try:
        return native.load(SOURCES)
    except (HerdError, OSError) as fault:
        warnings.warn(f"training on this CPU is slower than it could be: {fault}", stacklevel=2)
        return None


def address(x: Tensor | None) -> ctypes.c_void_p:
    """Of the first number; the caller keeps the tensor alive."""
    return ctypes.c_void_p(None if x is None else x.data_ptr())
