"""What the device at hand is, how a model gets there, and how fast it multiplies."""

from __future__ import annotations

import functools
import os
import time
from typing import Literal, TypeVar

import torch
from torch import nn

from herd.core.errors import SettingsError
from herd.model.sizes import Shape
from herd.run.processes import held_bytes

_ModelT = TypeVar("_ModelT", bound=nn.Module)

# Dense bf16 FLOPs a second of one device, by the makers' data sheets.
_PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "B200": 2250e12}


def default_device() -> torch.device:
    """The GPU of this rank, or the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


def resolve_device(name: str = "auto") -> torch.device:
    """A device by name: `auto` is the GPU of this rank, or the CPU where there is none; `cuda` the GPU of this rank.

    Raises SettingsError for a name that is none, and for a GPU that is not there."""
    if name == "auto":
        return default_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise SettingsError(f"device {name!r}: there are auto, cpu, cuda and cuda:NUMBER") from None
    if device.type != "cuda":
        return device
    if (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"device {name!r}: this machine shows {torch.cuda.device_count()} GPUs; take another")
    return default_device() if device.index is None else device


DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def resolve_dtype(name: str, device: torch.device) -> Literal["fp32", "bf16"]:
    """A dtype by name: `auto` is bf16 on a GPU that computes in it (Ampere and later), else fp32."""
    if name != "auto":
        return "bf16" if name == "bf16" else "fp32"
    is_fast = device.type == "cuda" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(False)
    return "bf16" if is_fast else "fp32"


def place_model(model: _ModelT, device: str = "auto", dtype: str = "fp32") -> _ModelT:
    """`model` with its weights on `device` in `dtype`, changed in place. The only door by which a model gets to a
    device: everything else asks the weights where they lie.

    device: as `resolve_device` takes it. dtype: fp32, bf16 or auto; tables of positions stay fp32. Raises
    SettingsError.
    """
    target = resolve_device(device)
    if target.type == "cuda":
        torch.cuda.set_device(target)  # kernels that are not told where take the current one
    return _move(model, target, DTYPES[resolve_dtype(dtype, target)])


def _move(model: _ModelT, device: torch.device, dtype: torch.dtype) -> _ModelT:
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dtype != dtype:
                weight.data = weight.data.to(dtype)
    return model.to(device)


def device_bytes() -> int:
    """The most that was allocated on the GPU so far; on a CPU what the process holds of its own now."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else held_bytes()


def device_memory(device: torch.device | None = None) -> tuple[float, float]:
    """Bytes of a GPU, of this one when absent, that this process may have, with those it has, and those that it holds
    of them."""
    free, _ = torch.cuda.mem_get_info(device)
    return float(free + torch.cuda.memory_reserved(device)), float(torch.cuda.memory_allocated(device))


_MAX_LAYERS = 100_000  # also a model without memory is made layer by layer


def check_memory(shape: Shape, *, bytes_per_weight: float = 4) -> None:
    """Raises SettingsError for a shape that this machine cannot hold, before anything of its size is made."""
    if shape.n_layers > _MAX_LAYERS:
        raise SettingsError(f"n_layers is {shape.n_layers:,}; herd makes up to {_MAX_LAYERS:,}: give a smaller number")
    if torch.get_default_device().type == "meta":
        return
    angles = 3 * 4 * shape.max_seq_len * (shape.head_dim // 2)  # turns, cosines and sines
    required, available = shape.num_params * bytes_per_weight + angles, memory_bytes()
    if required > available:
        setting = "max_seq_len" if 2 * angles > required else "dim, ffn_dim, n_layers or vocab_size"
        raise SettingsError(
            f"a model of {shape.num_params:,} weights and a context of {shape.max_seq_len:,} takes "
            f"{required / 1e9:,.1f} GB and this machine has {available / 1e9:,.1f}; give a smaller {setting}"
        )


def memory_bytes() -> int:
    """Of this machine, whoever uses it; without end where it cannot be asked."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 1 << 62


@functools.cache
def peak_flops() -> float:
    """FLOPs a second that this device could do: of a GPU by its data sheet, of a CPU as measured on one thread."""
    if torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        peaks = [peak for part, peak in _PEAKS.items() if part in name]
        return peaks[0] if peaks else measure_flops(torch.device("cuda"), torch.bfloat16, 4096)
    return measure_flops(torch.device("cpu"), torch.float32, 768)


def measure_flops(device: torch.device, dtype: torch.dtype, size: int, *, seconds: float = 0.2) -> float:
    """FLOPs a second of a square product, the best of several."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in "ab")
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
