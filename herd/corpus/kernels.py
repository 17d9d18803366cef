"""The compiled half of the corpus: C++ kernels over Arrow buffers."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterator, Sequence
from functools import cache
from html.entities import html5
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from herd.core import native
from herd.corpus import characters

if TYPE_CHECKING:
    import pyarrow as arrow

CORPUS_SOURCES = Path(__file__).parent / "native"


@cache
def corpus_kernels() -> Any:
    """The kernels, built if they are not yet; where that is impossible the same in Python, with a warning."""
    kernels = native.load_or_warn(CORPUS_SOURCES, "plain Python curates, about a hundred times more slowly")
    if kernels is None:
        from herd.corpus.plain.interface import Kernels

        kernels = Kernels()
        _set_tables(kernels)
        return kernels
    for name in _ADDRESSES:
        getattr(kernels, f"herd_{name}").restype = ctypes.c_void_p
    kernels.herd_utf8_fault.restype = ctypes.c_int64
    _set_tables(kernels)
    return kernels


# What returns an address; the rest of the kernels return nothing.
_ADDRESSES = (
    "extract clean_lines mask_private shingles line_keys drop_lines window_keys cut_repeats gram_keys find_grams "
    "bloom_texts block_list result_text result_numbers result_keys result_matches"
).split()


def _set_tables(kernels: Any) -> None:
    names, values = pack_texts(list(html5)), pack_texts(list(html5.values()))
    kernels.herd_set_entities(names.argument, values.argument)
    classes, lowered, folded = characters.tables()
    kernels.herd_set_runes(pointer(classes), pointer(lowered), pointer(folded), ctypes.c_int32(len(classes)))
    words = pack_texts(list(itertools.chain.from_iterable(characters.STOP_WORDS.values())))
    ends = np.cumsum([len(stop_words) for stop_words in characters.STOP_WORDS.values()]).astype(np.int32)
    kernels.herd_set_stop_words(words.argument, pointer(ends), ctypes.c_int32(len(ends)))


def set_dirty_words(phrases: Sequence[str]) -> None:
    """The words and phrases that are counted as dirty from now on, in this process."""
    packed = pack_texts([phrase.lower() for phrase in phrases])
    corpus_kernels().herd_set_dirty_words(packed.argument)


# ---- texts in ----


class PackedTexts:
    """Texts in one buffer, for the kernels; kept alive as long as this object.

    data: anything with a buffer. offsets: where each text starts, and the end of the last.
    """

    def __init__(self, data: Any, offsets: NDArray[np.int64]) -> None:
        buffer = np.frombuffer(data, np.uint8) if len(data) else np.zeros(1, np.uint8)
        self._buffers = data, buffer, np.ascontiguousarray(offsets, dtype=np.int64)
        self.count = len(offsets) - 1
        self._struct = _Texts(buffer.ctypes.data, self._buffers[2].ctypes.data, self.count)
        self._struct.held = self._buffers  # so that the argument alone keeps the texts alive
        self.argument = ctypes.byref(self._struct)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Of each text, in bytes."""
        return np.diff(self._buffers[2])

    def heads(self, max_bytes: int) -> Iterator[str]:
        """The beginning of each text."""
        _, buffer, ends = self._buffers
        for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            yield buffer[start : min(end, start + max_bytes)].tobytes().decode("utf-8", "ignore")

    def cut(self, number: int, begin: int, end: int) -> bytes:
        """Bytes [begin, end) of a text."""
        _, buffer, ends = self._buffers
        return buffer[ends[number] + begin : ends[number] + end].tobytes()

    def select(self, mask: NDArray[np.bool_]) -> PackedTexts:
        """The chosen ones of these texts, copied."""
        _, buffer, ends = self._buffers
        numbers = np.flatnonzero(mask).tolist()
        offsets = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(self.lengths[numbers], out=offsets[1:])
        return PackedTexts(b"".join(buffer[ends[number] : ends[number + 1]].tobytes() for number in numbers), offsets)


class _Texts(ctypes.Structure):
    """As the kernels take them."""

    _fields_ = (("data", ctypes.c_void_p), ("offsets", ctypes.c_void_p), ("count", ctypes.c_int64))


def pack_texts(texts: arrow.Array | arrow.ChunkedArray | Sequence[str | bytes]) -> PackedTexts:
    """A column or a list of texts for the kernels; columns of large_string or large_binary are not copied."""
    if isinstance(texts, Sequence):
        encoded = [text.encode("utf-8", "replace") if isinstance(text, str) else text for text in texts]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(encoded_text) for encoded_text in encoded], out=offsets[1:])
        return PackedTexts(encoded[0] if len(encoded) == 1 else b"".join(encoded), offsets)
    import pyarrow as arrow

    column = texts.combine_chunks() if isinstance(texts, arrow.ChunkedArray) else texts
    if column.type not in (arrow.large_string(), arrow.large_binary()):
        column = column.cast(arrow.large_binary() if arrow.types.is_binary(column.type) else arrow.large_string())
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    return PackedTexts(data if data is not None else b"", ends)


def pointer(numbers: NDArray[Any]) -> ctypes.c_void_p:
    """The address of an array's first number; the caller keeps the array alive."""
    assert numbers.flags.c_contiguous, "kernels read arrays that lie in one piece"
    return ctypes.c_void_p(numbers.ctypes.data)


# ---- results out ----


class KernelResult:
    """What a kernel made, copied out of its memory piece by piece and then given back."""

    def __init__(self, function: str, texts: PackedTexts, *arguments: Any) -> None:
        self._kernels = corpus_kernels()
        self._count = texts.count
        self._address = ctypes.c_void_p(getattr(self._kernels, function)(texts.argument, *arguments))

    def __enter__(self) -> KernelResult:
        return self

    def __exit__(self, *fault: object) -> None:
        self._kernels.herd_result_free(self._address)

    def texts(self, column: int = 0) -> arrow.LargeStringArray:
        import pyarrow as arrow

        offsets = ctypes.c_void_p()
        data = self._kernels.herd_result_text(self._address, column, ctypes.byref(offsets))
        ends = _copy(offsets.value, self._count + 1, np.int64)
        text = ctypes.string_at(data, int(ends[-1])) if ends[-1] else b""
        return arrow.LargeStringArray.from_buffers(self._count, arrow.py_buffer(ends), arrow.py_buffer(text))

    def numbers(self, column: int) -> NDArray[np.int32]:
        return _copy(self._kernels.herd_result_numbers(self._address, column), self._count, np.int32)

    def keys(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Keys of all texts one after the other, and where those of each text end: [K], [N + 1]."""
        ends, count = ctypes.c_void_p(), ctypes.c_int64()
        keys = self._kernels.herd_result_keys(self._address, ctypes.byref(ends), ctypes.byref(count))
        return _copy(keys, count.value, np.uint64), _copy(ends.value, self._count + 1, np.int64)

    def matches(self) -> NDArray[np.int64]:
        """(text, first byte, end, place among the keys), a row each: [M, 4]."""
        count = ctypes.c_int64()
        address = self._kernels.herd_result_matches(self._address, ctypes.byref(count))
        return _copy(address, 4 * count.value, np.int64).reshape(-1, 4)


def _copy(address: int | None, count: int, kind: Any) -> NDArray[Any]:
    if not count or not address:
        return np.empty(0, kind)
    return np.frombuffer(ctypes.string_at(address, np.dtype(kind).itemsize * count), kind)
