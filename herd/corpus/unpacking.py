"""Packed files as the text they hold, up to the very place where one breaks off: gzip, bzip2, xz and Zstandard.

Source: RFC 1952 (gzip), RFC 8878, 3.1.1 (Zstandard's frames).
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO

RAW_BYTES = 1 << 16
OUT_BYTES = 1 << 20  # text made at once, whatever a few bytes unpack to
XZ_MEMORY = 1 << 28
WINDOW_BYTES = 1 << 27  # the decoder keeps no more of what it has written
_BLOCK_BYTES = 1 << 17  # of text, at most, in one of Zstandard's blocks
_FRAME, _SKIPPABLE = b"\x28\xb5\x2f\xfd", 0x184D2A50
# A file that unpacks to more than so many bytes, and so many times its own, is no text.
FLOOR_BYTES, RATIO = 1 << 28, 1_000
_MAX_BREAKS = 1_000
_NEVER = 1 << 62
MAGIC = {".gz": b"\x1f\x8b\x08", ".bz2": b"BZh", ".xz": b"\xfd7zXZ\x00", ".zst": _FRAME}


class _DamageError(Exception):
    """What is wrong with a packed file."""


class DecompressedStream:
    """The text of a packed file, read in pieces. fault: what is wrong with the file, once its text is read to the
    end; all that stands before the place is given."""

    def __init__(self, stream: BinaryIO, codec: str) -> None:
        self._stream, self._codec, self.fault = stream, codec, ""
        self._member = 0  # where the member at work begins
        self._buffer, self._pieces = b"", self._all()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        while not self._buffer:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._buffer = piece
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _all(self) -> Iterator[bytes]:
        start: int | None = 0
        for _ in range(_MAX_BREAKS):
            if start is None:
                return
            num_bytes = 0
            try:
                for piece in self._from(start, _NEVER):
                    num_bytes += len(piece)
                    yield piece
                    if num_bytes > FLOOR_BYTES and num_bytes > FLOOR_BYTES + RATIO * self._stream.tell():
                        self.fault = f"unpacks to more than {RATIO:,} times its size"
                        return
                return
            except _faults() as fault:
                self.fault = self.fault or _describe_fault(fault)
            yield from self._up_to_the_fault(start, num_bytes)
            start = self._next_gzip() if self._codec == ".gz" else None
            if start is not None:
                yield b"\n"

    def _up_to_the_fault(self, start: int, num_bytes: int) -> Iterator[bytes]:
        """What stands between the text that was given and the damage: the call that meets it gives nothing, so that
        the rest is asked for byte by byte."""
        passed, out = 0, bytearray()
        with suppress(*_faults()):
            for piece in self._from(start, num_bytes):
                passed += len(piece)
                if passed > num_bytes:
                    out += piece[max(0, len(piece) - passed + num_bytes) :]
        yield bytes(out)

    def _from(self, start: int, careful_from: int) -> Iterator[bytes]:
        self._stream.seek(start)
        if self._codec == ".zst":
            return _zstandard(self._stream, careful_from)
        return self._members(start, careful_from)

    def _members(self, start: int, careful_from: int) -> Iterator[bytes]:
        """The text of one member behind the other. careful_from: after so many bytes every call gives little."""
        at, raw, num_bytes = start, self._stream.read(RAW_BYTES), 0
        while True:
            if self._codec != ".bz2" and at > start:  # files are filled up with zeros
                while raw and not any(raw):
                    at, raw = at + len(raw), self._stream.read(RAW_BYTES)
                at, raw = at + len(raw) - len(raw.lstrip(b"\0")), raw.lstrip(b"\0")
            raw += self._stream.read(RAW_BYTES) if len(raw) < 8 else b""
            if not raw and at > 0:
                return
            if not raw.startswith(MAGIC[self._codec]):
                raise _DamageError("holds other bytes behind its end" if at else f"is no {self._codec[1:]} file")
            self._member, decoder = at, _decoder(self._codec)
            feed = _feed_gzip if self._codec == ".gz" else _feed
            while not decoder.eof:
                for out in feed(decoder, raw, lambda: num_bytes >= careful_from):  # noqa: B023
                    num_bytes += len(out)
                    yield out
                at += len(raw) - len(decoder.unused_data)
                raw = decoder.unused_data if decoder.eof else self._stream.read(RAW_BYTES)
                if not raw and not decoder.eof:
                    raise _DamageError("breaks off")

    def _next_gzip(self) -> int | None:
        """Where behind the damaged member another one begins."""
        at, attempts = self._member + 1, 0
        while True:
            self._stream.seek(at)
            data = self._stream.read(OUT_BYTES)
            place = data.find(MAGIC[".gz"])
            while place >= 0 and (len(data) - place > 1024 or len(data) < OUT_BYTES):
                # Bytes that look like a start at every turn are not all tried.
                if 64 * attempts <= at + place - self._member + RAW_BYTES:
                    attempts += 1
                    if _inflates(data[place : place + 1024]):
                        return at + place
                place = data.find(MAGIC[".gz"], place + 1)
            if len(data) < OUT_BYTES:
                return None
            at += place if place >= 0 else len(data) - 2


def _faults() -> tuple[type[Exception], ...]:
    import pyarrow as arrow

    return _DamageError, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, arrow.ArrowException


def _describe_fault(fault: Exception) -> str:
    if isinstance(fault, _DamageError):
        return str(fault)
    if isinstance(fault, lzma.LZMAError) and "limit" in str(fault):
        return f"needs more than {XZ_MEMORY:,} bytes of memory to unpack: pack it again with `xz -9` or less"
    return f"does not unpack ({str(fault).splitlines()[0]})"


def _decoder(codec: str) -> Any:
    if codec == ".gz":
        return zlib.decompressobj(wbits=31)
    if codec == ".bz2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def _feed_gzip(inflate: Any, raw: bytes, careful: Callable[[], bool]) -> Iterator[bytes]:
    view, at = memoryview(raw), 0
    while not inflate.eof:
        piece = view[at : at + 1] if careful() else view[at:]
        out = inflate.decompress(piece, OUT_BYTES)
        at += len(piece) - len(inflate.unconsumed_tail)
        yield out
        if at == len(raw) and len(out) < OUT_BYTES:
            return


def _feed(decoder: Any, raw: bytes, careful: Callable[[], bool]) -> Iterator[bytes]:
    while not decoder.eof:
        out = decoder.decompress(raw, 1 if careful() else OUT_BYTES)
        raw = b""
        yield out
        if decoder.needs_input:
            return


def _inflates(head: bytes) -> bool:
    try:
        return bool(zlib.decompressobj(wbits=31).decompress(head, 4096))
    except zlib.error:
        return False


# ---- Zstandard ----


def _zstandard(stream: BinaryIO, careful_from: int) -> Iterator[bytes]:
    import pyarrow as arrow

    frames, num_bytes = _Frames(stream), 0
    try:
        with arrow.CompressedInputStream(arrow.PythonFile(frames, "r"), "zstd") as text:
            while data := text.read(RAW_BYTES if num_bytes < careful_from else 1):
                num_bytes += len(data)
                yield data
    except (arrow.ArrowException, OSError):
        if not frames.damage:
            raise
    if frames.damage:
        raise _DamageError(frames.damage)


class _Frames:
    """Zstandard's frames as they stand in a file, but for the window that one says it needs: the decoder refuses a
    longer one than WINDOW_BYTES, though a frame whose text is no longer can do without. Where the text is longer,
    reading ends there."""

    closed = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._out, self._frames = stream, self._pieces(), 0
        self._ready, self.damage = bytearray(), ""

    def close(self) -> None:
        self.closed = True

    def read(self, size: int = -1) -> bytes:
        while not 0 <= size <= len(self._ready):
            piece = next(self._out, None)
            if piece is None:
                break
            self._ready += piece
        data = bytes(self._ready[: size if size >= 0 else None])
        del self._ready[: len(data)]
        return data

    def _pieces(self) -> Iterator[bytes]:
        while magic := self._stream.read(4):
            if len(magic) == 4 and int.from_bytes(magic, "little") & ~15 == _SKIPPABLE:
                self._pass(int.from_bytes(self._stream.read(4), "little"))
                continue
            if magic != _FRAME:
                self.damage = "holds other bytes behind its end" if self._frames else "is no zst file"
                return
            self._frames += 1
            yield from self._frame()
            if self.damage:
                return

    def _pass(self, size: int) -> None:
        while size > 0 and (data := self._stream.read(min(size, OUT_BYTES))):
            size -= len(data)

    def _frame(self) -> Iterator[bytes]:
        header, window, checksum = self._header()
        yield header
        blocks, last = 0, False
        while not last:
            blocks += 1
            if window > WINDOW_BYTES and blocks * _BLOCK_BYTES > WINDOW_BYTES:
                self.damage = (
                    f"was packed with a window of {window:,} bytes, of which {WINDOW_BYTES:,} are kept: unpack it by "
                    "`zstd -d --long=31` and pack it again without --long"
                )
                return
            head = self._stream.read(3)
            number = int.from_bytes(head, "little")
            last, kind, size = bool(number & 1), number >> 1 & 3, number >> 3
            body = self._stream.read(1 if kind == 1 else size)
            yield head + body
            if len(head) < 3 or len(body) < (1 if kind == 1 else size):
                self.damage = "breaks off"
                return
        yield self._stream.read(4) if checksum else b""

    def _header(self) -> tuple[bytes, int, bool]:
        """The frame's header as the decoder takes it, the window it says, and whether a checksum ends the frame."""
        flags = (self._stream.read(1) or b"\0")[0]
        single, checksum = bool(flags & 32), bool(flags & 4)
        window_byte = b"" if single else self._stream.read(1)
        dictionary = self._stream.read((0, 1, 2, 4)[flags & 3])
        size_bytes = (1 if single else 0, 2, 4, 8)[flags >> 6]
        content = self._stream.read(size_bytes)
        if single:
            window = int.from_bytes(content, "little") + (256 if size_bytes == 2 else 0)
        else:
            number = (window_byte or b"\0")[0]
            window = (8 + (number & 7)) << ((number >> 3) + 7)
        if window <= WINDOW_BYTES:
            return _FRAME + bytes([flags]) + window_byte + dictionary + content, window, checksum
        # Without the content's size, with the longest window that the decoder takes.
        longest = (WINDOW_BYTES.bit_length() - 1 - 10) << 3
        return _FRAME + bytes([flags & 7, longest]) + dictionary, window, checksum
