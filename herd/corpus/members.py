"""The members of an archive: what each gzip member inflates to, found again behind one that is damaged."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CHUNK = 1 << 20
RAW_BYTES = 1 << 16  # compressed bytes given to the inflater at once
# So much of what is no record is inflated to get past it; beyond, the next member is looked for.
SKIP_BYTES = 1 << 28
_BUFFER_BYTES = 1 << 22  # raw bytes of a member that are still at hand when it turns out to be damaged
_PROBE_BYTES = 1 << 10  # of a place that looks like a member's start
GZIP = b"\x1f\x8b\x08"
RECORD = re.compile(rb"WARC/[01]\.\d{1,4}\r?\n[\w-]{1,80}[ \t]*:")
ARC = re.compile(rb"^[a-z]{2,16}://[^\r\n]{0,4000} \S{1,64} \d{14} \S{1,128} \d{1,15}\r?$", re.MULTILINE)
_MARGIN = 1 << 13  # longer than what either of them matches
_NOT_BLANK = re.compile(rb"[^\r\n]")


@dataclass(frozen=True)
class Span:
    """Records that start at a compressed byte in [start, end) belong to a shard."""

    start: int = 0
    end: int = 1 << 62


WHOLE_FILE = Span()


class RawFile:
    """A file's bytes by their place; those from `keep` on are read once only."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._buffer, self._base = stream, b"", 0
        self.keep = 0

    def read(self, at: int, size: int) -> memoryview:
        """Up to `size` bytes that stand at `at`; none at the end of the file."""
        if not self._base <= at <= self._base + len(self._buffer):
            self._buffer, self._base = b"", at
        while at + size > self._base + len(self._buffer):
            self._stream.seek(self._base + len(self._buffer))
            data = self._stream.read(CHUNK)
            if not data:
                break
            passed = max(0, min(at, max(self.keep, at - _BUFFER_BYTES)) - self._base)
            self._buffer, self._base = self._buffer[passed:] + data, self._base + passed
        return memoryview(self._buffer)[at - self._base : at - self._base + size]


class Member:
    """The bytes of one gzip member, or of a whole stream that is not packed; made as they are asked for.

    fault: why it ended before its end. gave_up: there was too much in it that is no record.
    """

    def __init__(self, raw: RawFile | None, start: int, stream: Any = None) -> None:
        self.start, self.plain, self.fault = start, raw is None, ""
        self.at_end = self.gave_up = False
        self.arc: bool | None = None
        self._raw, self._stream, self._next, self._inflated = raw, stream, start, 0
        self._inflate = zlib.decompressobj(wbits=31)
        self._buffer, self._at = bytearray(), 0

    @property
    def next(self) -> int:
        """The first raw byte that is not this member's."""
        return self._next

    def fill(self, size: int) -> bool:
        """Whether `size` bytes are there to be read."""
        if len(self._buffer) - self._at >= size:
            return True
        del self._buffer[: self._at]
        self._at = 0
        while len(self._buffer) < size and not self.at_end:
            self._buffer += self._more_plain() if self._raw is None else self._more(self._raw)
        return len(self._buffer) >= size

    def _more_plain(self) -> bytes:
        data = self._stream.read(CHUNK)
        self.at_end = not data
        if self.at_end:
            self.fault = getattr(self._stream, "fault", "")
        return data

    def _more(self, raw: RawFile) -> bytes:
        piece = raw.read(self._next, RAW_BYTES)
        if not piece:
            self.at_end, self.fault = True, "breaks off"
            return b""
        before = self._inflate.copy() if self._inflated else zlib.decompressobj(wbits=31)
        try:
            data = self._inflate.decompress(piece, CHUNK)
        except zlib.error as fault:
            self.at_end, self.fault = True, f"does not inflate ({fault})"
            return _before_the_fault(before, piece)
        self._next += len(piece) - len(self._inflate.unconsumed_tail) - len(self._inflate.unused_data)
        self._inflated += len(data)
        self.at_end = self._inflate.eof
        return data

    def peek(self, size: int, at: int = 0) -> bytes:
        """Up to `size` bytes, `at` bytes from here."""
        self.fill(at + size)
        return bytes(memoryview(self._buffer)[self._at + at : self._at + at + size])

    def match(self, pattern: re.Pattern[bytes], within: int) -> tuple[int, bytes] | None:
        """Where in the next `within` bytes the pattern is found, and what it matches."""
        self.fill(within)
        hit = pattern.search(self._buffer, self._at, self._at + within)
        return (hit.start() - self._at, hit[0]) if hit else None

    @property
    def available(self) -> int:
        """Bytes that are at hand."""
        return len(self._buffer) - self._at

    def holds_record(self, within: int) -> bool:
        """Whether another record begins in the next `within` bytes, all at hand."""
        to = self._at + within
        if not self.arc and RECORD.search(self._buffer, self._at, to):
            return True
        return self.arc is not False and ARC.search(self._buffer, self._at, to) is not None

    def take(self, size: int) -> bytes:
        data = self.peek(size)
        self._at += len(data)
        return data

    def skip(self, size: int) -> None:
        """Passes over bytes that are known to be there."""
        self._at += size

    def skip_rest(self) -> None:
        """Moves to the member's end."""
        passed = 0
        while not self.gave_up and self.fill(1):
            passed += self.available
            self.skip(self.available)
            self.gave_up = passed > SKIP_BYTES

    def skip_blank(self) -> bool:
        """Moves to the next byte that ends no line; whether there were not too many of them."""
        passed = 0
        while self.fill(1):
            hit = _NOT_BLANK.search(self._buffer, self._at)
            if hit:
                self._at = hit.start()
                return True
            passed += len(self._buffer) - self._at
            self._at = len(self._buffer)
            if passed > SKIP_BYTES and not self.plain:
                self.gave_up = True
                return False
        return True

    def find_record(self) -> bool:
        """Moves to the next place where a record begins, if there is one."""
        passed = 0
        while self.fill(1):
            self.fill(CHUNK)
            hit = None if self.arc else RECORD.search(self._buffer, self._at)
            if not hit and self.arc is not False:
                hit = ARC.search(self._buffer, self._at)
            if hit:
                self._at = hit.start()
                return True
            to = len(self._buffer) - (0 if self.at_end else _MARGIN)
            passed += max(1, to - self._at)
            self._at = max(self._at + 1, to)
            if passed > SKIP_BYTES and not self.plain:
                self.gave_up = True
                return False
        return False


def _before_the_fault(inflate: Any, piece: memoryview) -> bytes:
    """What can be inflated of a piece that is damaged further on: the call that fails gives nothing."""
    out = bytearray()
    for at in range(len(piece)):
        try:
            out += inflate.decompress(piece[at : at + 1], CHUNK)
        except zlib.error:
            break
    return bytes(out)


def members(stream: Any, span: Span) -> Iterator[Member]:
    """The gzip members that start in the span. What is not read of one is skipped before the next comes; wherever one
    is damaged, the search goes on for the next."""
    raw = RawFile(stream)
    start = span.start
    if start:
        next_start = next_member(raw, start)
        if next_start is None:
            return
        start = next_start
    while start < span.end:
        raw.keep = start
        head = raw.read(start, 64)
        if not head:
            return
        if not any(head):  # tapes are filled up with zeros
            start = _behind_zeros(raw, start)
            continue
        member = Member(raw, start)
        yield member
        member.skip_rest()
        if not member.fault and not member.gave_up:
            start = member.next
            continue
        next_start = next_member(raw, max(member.start + 1, member.next if member.gave_up else 0))
        if next_start is None:
            return
        start = next_start


def _behind_zeros(raw: RawFile, at: int) -> int:
    while data := bytes(raw.read(at, CHUNK)):
        stripped = data.lstrip(b"\0")
        at += len(data) - len(stripped)
        if stripped:
            break
        raw.keep = at
    return at


def next_member(raw: RawFile, start: int) -> int | None:
    """The first byte from `start` on where a gzip member with a record in it begins."""
    at, attempts = start, 0
    while True:
        raw.keep = at
        data = bytes(raw.read(at, CHUNK))
        place = data.find(GZIP)
        while place >= 0 and (len(data) - place > _PROBE_BYTES or len(data) < CHUNK):
            # Bytes that look like a start at every turn are not all tried.
            if 64 * attempts <= at + place - start + (1 << 16):
                attempts += 1
                if _starts_record(data[place : place + _PROBE_BYTES]):
                    return at + place
            place = data.find(GZIP, place + 1)
        if len(data) < CHUNK:
            return None
        at += place if place >= 0 else len(data) - len(GZIP) + 1


def _starts_record(head: bytes) -> bool:
    # No more is inflated than it takes to know: a damaged checksum at the end of a short member is not met.
    inflate = zlib.decompressobj(wbits=31)
    try:
        text = inflate.decompress(head, 48)
        if text.startswith(b"WARC/"):
            return bool(RECORD.match(text))
        text += inflate.decompress(inflate.unconsumed_tail, 4096)
    except zlib.error:
        return False
    return bool(ARC.match(text))
