"""The compiled half of the corpus room: C++ kernels over Arrow buffers, built once and called by way of ctypes.

A plain C interface needs no Python headers, serves every Python version and lets other threads run while a
kernel works. The library is named after a hash of its sources: a wheel brings it along, a checkout builds
it at its first use, and changed sources can never meet an old build.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from html.entities import html5
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from herd.core.cache import cache_folder
from herd.core.errors import HerdError

if TYPE_CHECKING:
    import pyarrow as arrow

SOURCES = Path(__file__).parent / "native"
# No -march=native: a build is shared by the machines of a cluster. Kernels that gain from wider registers
# are compiled for several kinds of processor and choose when they are loaded.
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-math-errno")


class TextsArgument(ctypes.Structure):
    """A column of texts as the kernels take it."""

    _fields_ = (("data", ctypes.c_void_p), ("offsets", ctypes.c_void_p), ("count", ctypes.c_int64))


@cache
def library() -> ctypes.CDLL:
    """The kernels, built if they are not yet. Raises HerdError when that is impossible."""
    name = _name()
    found = next((folder / name for folder in (SOURCES, cache_folder("kernels")) if (folder / name).exists()), None)
    kernels = ctypes.CDLL(str(found or build(cache_folder("kernels"))))
    for function in ("herd_extract", "herd_measure", "herd_clean"):
        getattr(kernels, function).restype = ctypes.c_void_p
    kernels.herd_utf8_fault.restype = ctypes.c_int64
    _give_entities(kernels)
    return kernels


def build(folder: Path) -> Path:
    """Compiles the kernels into `folder`; returns the library. Safe when several processes do it at once."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / _name()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / final.name
        sources = [str(file) for file in sorted(SOURCES.glob("*.cpp"))]
        command = [*_compiler(), *FLAGS, "-o", str(made), *sources, "-lpthread"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise HerdError(f"the corpus kernels do not compile with {command[0]}: {done.stderr.strip()[:600]}")
        made.rename(final)
    return final


def _name() -> str:
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for file in sorted((*SOURCES.glob("*.cpp"), *SOURCES.glob("*.hpp"))):
        digest.update(file.name.encode() + file.read_bytes())
    return f"kernels-{digest.hexdigest()[:16]}-{sys.platform}-{platform.machine()}.so"


def _compiler() -> list[str]:
    named = os.environ.get("CXX", "").split()
    if named:
        return named
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    raise HerdError(
        "the corpus kernels are C++ and no compiler was found; install one (Debian: `apt install g++`, "
        "macOS: `xcode-select --install`, anywhere: `pip install ziglang`) or name one in CXX"
    )


def _give_entities(kernels: ctypes.CDLL) -> None:
    names, values = _pack(list(html5)), _pack(list(html5.values()))
    kernels.herd_set_entities(names.data, names.offsets, values.data, values.offsets, ctypes.c_int64(len(html5)))


# ---- texts in and out ----


class Packed:
    """Texts in one buffer with offsets, kept alive as long as this object."""

    def __init__(self, data: Any, offsets: NDArray[np.int64]) -> None:
        self._held = data, np.ascontiguousarray(offsets, dtype=np.int64)
        self.count = len(offsets) - 1
        address = data.address if hasattr(data, "address") else np.frombuffer(data, np.uint8).ctypes.data
        self.data = ctypes.c_void_p(address if len(data) else None)
        self.offsets = ctypes.c_void_p(self._held[1].ctypes.data)
        self.argument = TextsArgument(self.data, self.offsets, self.count)

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self._held[1])


def _pack(texts: list[str]) -> Packed:
    encoded = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=offsets[1:])
    return Packed(b"".join(encoded), offsets)


def pack(column: arrow.Array | arrow.ChunkedArray) -> Packed:
    """A column of texts or bytes for the kernels; no copy where it is large_string or large_binary already."""
    import pyarrow as arrow

    if isinstance(column, arrow.ChunkedArray):
        column = column.combine_chunks()
    kind = arrow.large_binary() if arrow.types.is_binary(column.type) else arrow.large_string()
    if column.type not in (arrow.large_string(), arrow.large_binary()):
        column = column.cast(kind)
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return Packed(data if data is not None else b"", ends)


def texts_at(data: int, offsets: int, count: int) -> arrow.LargeStringArray:
    """A copy of the texts that a kernel left at these addresses."""
    import pyarrow as arrow

    ends = np.ctypeslib.as_array((ctypes.c_int64 * (count + 1)).from_address(offsets)).copy()
    text = ctypes.string_at(data, int(ends[-1])) if ends[-1] else b""
    return arrow.LargeStringArray.from_buffers(count, arrow.py_buffer(ends), arrow.py_buffer(text))


def numbers_at(address: int, count: int, kind: Any) -> NDArray[Any]:
    """A copy of `count` numbers that a kernel left at `address`."""
    size = np.dtype(kind).itemsize * count
    return np.frombuffer(ctypes.string_at(address, size), kind) if count else np.empty(0, kind)


def batches_of(lengths: NDArray[np.int64], most_bytes: int) -> Iterator[slice]:
    """Consecutive slices that hold at most `most_bytes`, or one text that is longer."""
    start, held = 0, 0
    for number, length in enumerate(lengths.tolist()):
        if number > start and held + length > most_bytes:
            yield slice(start, number)
            start, held = number, 0
        held += length
    if start < len(lengths):
        yield slice(start, len(lengths))
