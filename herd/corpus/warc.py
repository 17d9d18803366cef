"""Web archives: WARC, WET and ARC, gzip or not, whole, split into shards or damaged.

Written for archives as they are found: a record that lies about its length, a member that does not inflate
or inflates to a thousand times its size is one page that cannot be used, with a reason; reading goes on
at the next record. Source: ISO 28500 (WARC), the ARC 1.0 file format, RFC 9112 for what is inside.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from herd.corpus.pages import PAGE_BYTES, Page

CHUNK = 1 << 20
HEADER_BYTES = 1 << 16
# So much of a record that is too long is inflated to get past it; beyond, the next member is looked for.
SKIP_BYTES = 1 << 28
_GZIP = b"\x1f\x8b\x08"
_RECORD = re.compile(rb"WARC/[01]\.\d+\r?\n")
_ARC = re.compile(rb"[a-z]+://\S* \S+ \d{14} \S+ \d+\n")
_UNWANTED = re.compile(rb"^WARC-Type:\s*(?!response|conversion|resource)\w", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^Content-Length:\s*(\d{1,9})\s*$", re.IGNORECASE | re.MULTILINE)
_HTML = ("text/html", "application/xhtml+xml")


@dataclass(frozen=True)
class Span:
    """Records that start at a compressed byte in [start, end) belong to a shard."""

    start: int = 0
    end: int = 1 << 62


WHOLE = Span()


def read_archive(stream: BinaryIO, name: str, source: str, span: Span = WHOLE) -> Iterator[Page]:
    """The pages of an archive; what cannot be used comes as a page with a fault."""
    packed = _peek(stream, 3) == _GZIP
    for member in _members(stream, span) if packed else [_Member(stream, 0, plain=True)]:
        yield from _records(member, name, source)


def _peek(stream: BinaryIO, size: int) -> bytes:
    head = stream.read(size)
    stream.seek(0)
    return head


# ---- members: one inflated stream each ----


class _Member:
    """The bytes of one gzip member, or of a whole file that is not compressed; inflated as they are asked for."""

    def __init__(self, stream: BinaryIO, start: int, *, plain: bool = False, head: bytes = b"") -> None:
        self.start, self.plain, self.fault = start, plain, ""
        self._stream, self._raw, self._at = stream, head, start + len(head)
        self._inflate = None if plain else zlib.decompressobj(wbits=31)
        self._out = b""
        self.ended = False

    def fill(self, size: int) -> bool:
        """Whether `size` bytes are there to be read."""
        parts, held = [self._out], len(self._out)
        while held < size and not self.ended:
            parts.append(self._more(max(size - held, CHUNK)))
            held += len(parts[-1])
        self._out = b"".join(parts) if len(parts) > 1 else self._out
        return held >= size

    def _more(self, size: int) -> bytes:
        if self._inflate is None:
            data = self._stream.read(size)
            self.ended = not data
            return data
        if not self._raw:
            self._raw = self._stream.read(CHUNK)
            self._at += len(self._raw)
            if not self._raw:
                self.ended, self.fault = True, "breaks off"
                return b""
        try:
            data = self._inflate.decompress(self._raw, size)
        except zlib.error as fault:
            self.ended, self.fault = True, f"does not inflate ({fault})"
            return b""
        self._raw = self._inflate.unconsumed_tail
        if self._inflate.eof:
            self.ended, self._raw = True, self._inflate.unused_data
        return data

    def peek(self, size: int) -> bytes:
        self.fill(size)
        return self._out[:size]

    def find(self, pattern: bytes, within: int) -> int:
        """Where `pattern` starts in the next `within` bytes, or -1."""
        self.fill(within)
        return self._out.find(pattern, 0, within)

    def take(self, size: int) -> bytes:
        self.fill(size)
        data, self._out = self._out[:size], self._out[size:]
        return data

    def skip(self, size: int) -> bool:
        """Whether `size` bytes were there to be passed over."""
        while size > 0:
            passed = len(self.take(min(size, CHUNK)))
            if not passed:
                return False
            size -= passed
        return True

    @property
    def rest(self) -> tuple[bytes, int]:
        """The raw bytes read beyond this member, and where in the file they start."""
        return self._raw, self._at - len(self._raw)


def _members(stream: BinaryIO, span: Span) -> Iterator[_Member]:
    """The gzip members that start in the span. Wherever one is damaged, the search goes on for the next."""
    start = span.start
    if start:
        found = _next_member(stream, start, b"")
        if found is None:
            return
        start = found
    stream.seek(start)
    head = b""
    while start < span.end:
        if not head:
            head = stream.read(CHUNK)
        if not head:
            return
        member = _Member(stream, start, head=head)
        yield member
        if not member.ended:  # its reader had enough before the end
            member.skip(SKIP_BYTES)
        damaged = member.fault or not member.ended
        head, start = member.rest
        if damaged:
            found = _next_member(stream, start if start > member.start else member.start + 1, b"")
            if found is None:
                return
            stream.seek(found)
            head, start = b"", found


def _next_member(stream: BinaryIO, start: int, before: bytes) -> int | None:
    """The first byte from `start` on where a gzip member with a record in it begins."""
    stream.seek(start)
    held, base = before, start
    while True:
        data = stream.read(CHUNK)
        held += data
        at = held.find(_GZIP)
        while at >= 0 and (len(held) - at > 4096 or not data):
            if _starts_record(held[at : at + 4096]):
                return base + at
            at = held.find(_GZIP, at + 1)
        if not data:
            return None
        keep = max(0, len(held) - 8192) if at < 0 else at
        base, held = base + keep, held[keep:]


def _starts_record(head: bytes) -> bool:
    try:
        text = zlib.decompressobj(wbits=31).decompress(head, 256)
    except zlib.error:
        return False
    return bool(_RECORD.match(text) or _ARC.match(text))


# ---- records ----


def _records(member: _Member, name: str, source: str) -> Iterator[Page]:
    count = 0
    while True:
        _skip_blank(member)
        head = member.peek(12)
        if not head:
            break
        count += 1
        identity = f"{name}@{member.start}" + (f"/{count}" if count > 1 or member.plain else "")
        if head.startswith(b"WARC/"):
            page, whole = _warc_record(member, identity, source)
        else:
            page, whole = _arc_record(member, identity, source)
        if page is not None:
            yield page
        if not whole and not _find_record(member):
            break
    if member.fault and count == 0:
        yield Page(f"{name}@{member.start}", source, fault=f"a gzip member that {member.fault}")


def _skip_blank(member: _Member) -> None:
    if member.peek(4) == b"\r\n\r\n":
        member.take(4)
    while member.peek(1) in (b"\r", b"\n"):
        member.take(1)


def _find_record(member: _Member) -> bool:
    """Moves to the next record after one whose end is not where it should be."""
    while member.fill(1):
        window = member.peek(CHUNK)
        found = _RECORD.search(window, 1)
        if found:
            member.take(found.start())
            return True
        member.take(max(1, len(window) - 16))
    return False


def _warc_record(member: _Member, identity: str, source: str) -> tuple[Page | None, bool]:
    """The page of the record that begins here, if it holds one, and whether the record ends where it says."""
    end = member.find(b"\r\n\r\n", HEADER_BYTES)
    if end < 0:
        why = f"a record whose header {member.fault}" if member.fault else "a record header without an end"
        return Page(identity, source, fault=why), False
    block = member.take(end + 4)
    if _UNWANTED.search(block) and (length := _LENGTH.search(block)):
        # Requests and metadata are most of an archive's records; their other fields are not looked at.
        return None, member.skip(int(length[1])) and _ends_here(member)
    headers = _headers(block)
    identity = headers.get("warc-record-id") or identity
    url, added = headers.get("warc-target-uri", "").strip("<>"), headers.get("warc-date", "")[:10]
    kind = headers.get("warc-type", "")
    wanted = kind in ("response", "conversion", "resource")

    def fault(text: str) -> Page | None:
        return Page(identity, source, url=url, added=added, fault=text) if wanted else None

    length = _number(headers.get("content-length", ""))
    if length is None:
        return fault("a record without a length"), False
    if length > PAGE_BYTES + HEADER_BYTES:
        passed = length <= SKIP_BYTES and member.skip(length)
        return fault(f"longer than {PAGE_BYTES:,} bytes"), passed
    body = member.take(length)
    if len(body) < length:
        return fault(f"breaks off: {len(body):,} of {length:,} bytes are there"), False
    whole = _ends_here(member)
    if not whole:
        return fault(f"its length is not the {length:,} bytes it says"), False
    if not wanted:
        return None, True
    page = Page(identity, source, url=url, added=added)
    if kind == "response" and url.startswith("http"):
        return _http_page(page, body, headers.get("warc-identified-payload-type", "")), True
    return _typed(page, body, headers.get("content-type", "")), True


def _ends_here(member: _Member) -> bool:
    """Whether the next bytes end a record: blank lines, then a record or nothing."""
    tail = member.peek(24)
    if tail == b"\r\n\r\n":
        return True
    rest = tail.lstrip(b"\r\n")
    return (
        not rest
        or rest.startswith(b"WARC/")
        or (not member.plain and _ARC.match(member.peek(4096).lstrip(b"\r\n")) is not None)
    )


def _arc_record(member: _Member, identity: str, source: str) -> tuple[Page | None, bool]:
    end = member.find(b"\n", HEADER_BYTES)
    fields = member.peek(max(0, end)).decode("latin-1").split(" ")
    if end < 0 or len(fields) < 5 or _number(fields[-1]) is None:
        return Page(identity, source, fault="neither a WARC nor an ARC record"), False
    member.take(end + 1)
    url, day, length = fields[0], fields[2], int(fields[-1])
    page = Page(identity, source, url=url, added=f"{day[:4]}-{day[4:6]}-{day[6:8]}")
    if length > PAGE_BYTES + HEADER_BYTES:
        passed = length <= SKIP_BYTES and member.skip(length)
        return page.failed(f"longer than {PAGE_BYTES:,} bytes"), passed
    body = member.take(length)
    if len(body) < length:
        return page.failed(f"breaks off: {len(body):,} of {length:,} bytes are there"), False
    if not url.startswith("http"):
        return None, True  # the archive's own header, or a name server's answer
    return _http_page(page, body, ""), True


def _headers(block: bytes) -> dict[str, str]:
    """Header fields by lower-case name; the first of several counts."""
    fields: dict[str, str] = {}
    for line in block.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower().decode("latin-1"), value.strip().decode("utf-8", "replace"))
    return fields


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


# ---- what is inside ----


def _http_page(page: Page, body: bytes, identified: str) -> Page:
    head, blank, content = body.partition(b"\r\n\r\n")
    if not blank:
        head, blank, content = body.partition(b"\n\n")
    if not head.startswith(b"HTTP/"):
        return page.failed("a response without an HTTP header")
    fields = _headers(head)
    status = head[:16].split(b" ")[1:2]
    if status and status[0].isdigit() and not 200 <= int(status[0]) < 300:
        return page.failed(f"answered with status {int(status[0])}")
    if "chunked" in fields.get("transfer-encoding", "").lower():
        content = _unchunked(content)
    coding = fields.get("content-encoding", "").lower()
    if coding in ("gzip", "x-gzip", "deflate") and (coding == "deflate" or content.startswith(_GZIP[:2])):
        content = _inflated(content, coding)
        if content is None:
            return page.failed(f"its {coding} content does not inflate to at most {PAGE_BYTES:,} bytes")
    elif coding == "br" and content[:1] not in (b"<", b"\n", b" "):
        return page.failed("compressed with brotli, which archives should not keep")
    declared = fields.get("content-type", "")
    return _typed(page, content, identified or declared, declared)


def _typed(page: Page, content: bytes, kind: str, declared: str = "") -> Page:
    """The page with its content, when its media type is one that holds text to read."""
    if len(content) > PAGE_BYTES:
        return page.failed(f"longer than {PAGE_BYTES:,} bytes")
    media = kind.partition(";")[0].strip().lower()
    found = re.search(r"charset=[\"']?([\w.:-]+)", declared or kind, re.IGNORECASE)
    charset = found[1] if found else ""
    if media == "text/plain":
        return page.holding(content, charset, html=False)
    if media in _HTML or (not media and content.lstrip()[:1] == b"<"):
        return page.holding(content, charset, html=True)
    return page.failed(f"not HTML but {media[:60] or 'of no known type'}")


def _unchunked(content: bytes) -> bytes:
    """The content of a chunked transfer; unchanged where the chunks do not add up."""
    parts, at = [], 0
    while True:
        line = content.find(b"\r\n", at, at + 64)
        try:
            size = int(content[at : max(at, line)].partition(b";")[0], 16)
        except ValueError:
            return b"".join(parts) if parts else content
        if size == 0:
            return b"".join(parts)
        parts.append(content[line + 2 : line + 2 + size])
        at = line + 4 + size


def _inflated(content: bytes, coding: str) -> bytes | None:
    for wbits in (47,) if coding != "deflate" else (15, -15):
        inflate = zlib.decompressobj(wbits=wbits)
        try:
            data = inflate.decompress(content, PAGE_BYTES + 1)
        except zlib.error:
            continue
        return data if len(data) <= PAGE_BYTES else None
    return None


def write_warc(pages: list[Page]) -> bytes:
    """Pages as gzip WARC, one member a record; the inverse of `read_archive` for HTML pages."""
    return b"".join(gzip.compress(_as_record(page), 6, mtime=0) for page in pages)


def _as_record(page: Page) -> bytes:
    charset = f"; charset={page.charset}" if page.charset else ""
    http = (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/html{charset}\r\nContent-Length: {len(page.body)}\r\n\r\n"
    ).encode() + page.body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: {page.id}\r\nWARC-Target-URI: {page.url}\r\n"
        f"WARC-Date: {page.added or '1970-01-01'}T00:00:00Z\r\nWARC-Identified-Payload-Type: text/html\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"
