"""Batches of rows of an Arrow file or stream, as `datasets.save_to_disk` writes it, whatever the file says of itself.

Every message is looked at before Arrow makes anything of it: how long it is, and what its buffers unpack to.
Source: the Arrow columnar format, "Encapsulated message format" and Message.fbs, version 1.4.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as arrow

MAX_HEADER_BYTES = 1 << 24
MAX_BATCH_BYTES = 1 << 29  # of a batch of rows, packed and unpacked
MAX_DICTIONARY_BYTES = 1 << 30  # of all dictionaries of a file
_MAX_VALUES = 1 << 26  # in lists and objects of a batch: some take no bytes in the file
_FILE_MARK = b"ARROW1\0\0"  # before a stream, in the file format
_CONTINUATION = b"\xff\xff\xff\xff"
_CHUNK = 1 << 20
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3


def arrow_batches(stream: Any) -> Iterator[arrow.RecordBatch]:
    """The record batches of a stream of bytes, in the stream or in the file format; nothing in them is checked yet.

    At least one batch comes, so that columns are known. Raises ValueError, whose text is a reason in a few words, where
    the stream is not Arrow's, breaks off, or is larger than the limits of this file.
    """
    import pyarrow as arrow

    try:
        with arrow.ipc.open_stream(_Messages(stream)) as batches:
            schema, count = batches.schema, 0
            for batch in batches:
                count += 1
                yield batch
        if not count:
            yield arrow.RecordBatch.from_pylist([], schema)
    except (arrow.ArrowException, OSError, ValueError, struct.error) as fault:
        raise ValueError((str(fault).splitlines() or ["is damaged"])[0][:200]) from None


def check_buffers(batch: Any, *, full: bool = True) -> None:
    """Raises ValueError where a batch, or an array, holds what its buffers do not. full: looks at every value, and not
    only at how long its buffers are."""
    import pyarrow as arrow

    try:
        batch.validate(full=full)
    except arrow.ArrowException as fault:
        raise ValueError(str(fault).splitlines()[0][:200]) from None


def check_batch(batch: Any) -> None:
    """Raises ValueError where a batch holds what its buffers do not, or would be much larger as Python's values than in
    the file."""
    check_buffers(batch)
    values = size = 0
    for array in batch.columns:
        more_values, more_bytes = _unpacked(array)
        values, size = values + more_values, size + more_bytes
    if values > _MAX_VALUES or size > 2 * MAX_BATCH_BYTES:
        raise ValueError(f"a batch of rows holds {values:,} values and {size:,} bytes; write it in smaller batches")


def _unpacked(array: Any) -> tuple[int, int]:
    """How many values an array has with those in its lists and objects, and bytes of its texts, each as often as it is
    said."""
    from pyarrow import types

    kind = array.type
    if types.is_dictionary(kind):
        longest = max((len(value.as_buffer()) for value in array.dictionary if value.is_valid), default=0) if (
            types.is_string(kind.value_type) or types.is_large_string(kind.value_type)
        ) else 64  # fmt: skip
        if types.is_nested(kind.value_type):
            raise ValueError("a dictionary of lists or objects")
        return len(array), len(array) * longest
    if types.is_struct(kind):
        parts = [_unpacked(array.field(number)) for number in range(kind.num_fields)]
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind) or types.is_fixed_size_list(kind):
        parts = [_unpacked(array.values)]
    elif types.is_nested(kind) or isinstance(array, _unusual()):
        raise ValueError(f"a column of type {str(kind)[:60]}")
    else:
        return len(array), array.nbytes
    return len(array) + sum(values for values, _ in parts), sum(size for _, size in parts)


def _unusual() -> tuple[type, ...]:
    import pyarrow as arrow

    return (arrow.RunEndEncodedArray,)


class _Messages(io.RawIOBase):
    """A stream of Arrow's messages, each read and looked at as a whole before a byte of it is handed on."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._message, self._at = stream, b"", 0
        self._started = self._ended = False
        self._dictionary_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if self._at == len(self._message) and not self._ended:
            self._message, self._at = self._next(), 0
            self._ended = not self._message
        end = len(self._message) if size < 0 else self._at + size
        data = self._message[self._at : end]
        self._at += len(data)
        return data

    def _next(self) -> bytes:
        """The next message with what stands before it; nothing at the end."""
        head = self._bytes(4, may_end=True)
        if not self._started:
            self._started = True
            if head == _FILE_MARK[:4]:
                self._bytes(4)
                head = self._bytes(4, may_end=True)
            if not head:
                raise ValueError("is empty")
        prefix, length = head, head
        if head == _CONTINUATION:
            length = self._bytes(4)
            prefix = head + length
        header_bytes = struct.unpack("<i", length)[0] if length else 0
        if not header_bytes:
            return b""
        if not 0 < header_bytes <= MAX_HEADER_BYTES:
            raise ValueError("is no Arrow file, or a damaged one")
        header = self._bytes(header_bytes)
        kind, body_bytes, batch = _message(header)
        if not 0 <= body_bytes <= MAX_BATCH_BYTES:
            raise ValueError(f"a batch of rows takes {body_bytes:,} bytes, more than {MAX_BATCH_BYTES:,}")
        body = self._bytes(body_bytes)
        unpacked = max(body_bytes, _unpacked_bytes(batch, body) if batch is not None else 0)
        if unpacked > MAX_BATCH_BYTES:
            raise ValueError(f"a batch of rows unpacks to {unpacked:,} bytes, more than {MAX_BATCH_BYTES:,}")
        if kind == _DICTIONARY_BATCH:
            self._dictionary_bytes += unpacked
            if self._dictionary_bytes > MAX_DICTIONARY_BYTES:
                raise ValueError(f"its dictionaries take more than {MAX_DICTIONARY_BYTES:,} bytes")
        return prefix + header + body

    def _bytes(self, count: int, *, may_end: bool = False) -> bytes:
        """So many bytes; asked for piece by piece, so that memory follows what is there and not what is said."""
        data = bytearray()
        while len(data) < count and (piece := self._stream.read(min(_CHUNK, count - len(data)))):
            data += piece
        if len(data) < count and not (may_end and not data):
            raise ValueError("breaks off")
        return bytes(data)


# ---- FlatBuffers ----


class _Table:
    """A table of FlatBuffers. Raises struct.error or ValueError for places outside the bytes."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self._at = data, at
        self._fields = at - self.number("<i", at)
        self._size = self.number("<H", self._fields)

    def number(self, form: str, at: int) -> int:
        if at < 0:
            raise ValueError("is damaged")
        return struct.unpack_from(form, self.data, at)[0]

    def place(self, field: int) -> int:
        """Where a field stands; 0 for one that is not there."""
        entry = 4 + 2 * field
        offset = self.number("<H", self._fields + entry) if entry + 2 <= self._size else 0
        return self._at + offset if offset else 0

    def table(self, field: int) -> _Table | None:
        at = self.place(field)
        return _Table(self.data, at + self.number("<I", at)) if at else None


def _message(header: bytes) -> tuple[int, int, _Table | None]:
    """What kind of message it is, bytes of its body, and what it says of a batch of rows or a dictionary."""
    root = _Table(header, struct.unpack_from("<I", header)[0])
    kind_at, body_at = root.place(1), root.place(3)
    kind = root.number("<B", kind_at) if kind_at else 0
    body_bytes = root.number("<q", body_at) if body_at else 0
    batch = root.table(2) if kind in (_DICTIONARY_BATCH, _RECORD_BATCH) else None
    if kind == _DICTIONARY_BATCH and batch is not None:
        batch = batch.table(1)
    return kind, body_bytes, batch


def _unpacked_bytes(batch: _Table, body: bytes) -> int:
    """What the buffers of a batch unpack to, by the length that stands before each; 0 for one that is not packed."""
    at = batch.place(2)
    if not batch.place(3) or not at:
        return 0
    at += batch.number("<I", at)
    count, total = batch.number("<I", at), 0
    if count > len(batch.data) // 16:
        raise ValueError("is damaged")
    for number in range(count):
        offset = batch.number("<q", at + 4 + 16 * number)
        length = batch.number("<q", at + 12 + 16 * number)
        if length and not 0 <= offset <= len(body) - 8:
            raise ValueError("is damaged")
        total += max(0, struct.unpack_from("<q", body, offset)[0]) if length else 0
    return total
