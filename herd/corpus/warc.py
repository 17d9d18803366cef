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
from typing import Any

from herd.corpus.members import ARC, GZIP, SKIP_BYTES, WHOLE_FILE, Member, Span, members
from herd.corpus.pages import PAGE_BYTES, Page

HEADER_BYTES = 1 << 16
# A header ends with a blank line; where another record begins before one, it has no end.
_HEADER_END = re.compile(rb"\r?\n\r?\n|\nWARC/[01]\.\d{1,4}\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_UNWANTED = re.compile(rb"^WARC-Type:\s*(?!response|conversion|resource)\w", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^Content-Length:\s*(\d{1,9})\s*$", re.IGNORECASE | re.MULTILINE)
_HTML = ("text/html", "application/xhtml+xml")


def read_archive(stream: Any, name: str, source: str, span: Span = WHOLE_FILE) -> Iterator[Page]:
    """The pages of an archive; what cannot be used comes as a page with a fault."""
    head = stream.read(len(GZIP))
    stream.seek(0)
    for member in members(stream, span) if head == GZIP else [Member(None, 0, stream)]:
        yield from _records(member, name, source)


def read_unpacked(stream: Any, name: str, source: str) -> Iterator[Page]:
    """The pages of an archive that another program than gzip packed, from what it unpacks to."""
    yield from _records(Member(None, 0, stream), name, source)


# ---- records ----


def _records(member: Member, name: str, source: str) -> Iterator[Page]:
    count, headless = 0, False
    while True:
        if not member.skip_blank():
            yield Page(f"{name}@{member.start}", source, fault=f"more than {SKIP_BYTES:,} bytes that are no record")
            break
        head = member.peek(5)
        if not head:
            break
        count += 1
        identity = f"{name}@{member.start}" + (f"/{count}" if count > 1 or member.plain else "")
        page, complete, header = (_warc_record if head == b"WARC/" else _arc_record)(member, identity, source)
        # A run of headers without an end is one thing that cannot be read, however long it is.
        if page is not None and (header or not headless):
            yield page
        headless = not header
        if not complete and not member.find_record():
            break
    if member.fault and count == 0:
        yield Page(f"{name}@{member.start}", source, fault=f"a gzip member that {member.fault}")


# The page of the record that begins here, if it holds one; whether the reader stands behind its end now, or else
# where the next record may be looked for; and whether it has a header at all.
_Read = tuple[Page | None, bool, bool]


def _warc_record(member: Member, identity: str, source: str) -> _Read:
    end = member.match(_HEADER_END, HEADER_BYTES)
    if end is None or end[1].strip():
        why = f"a record whose header {member.fault}" if member.fault else "a record header without an end"
        member.skip(1)
        return Page(identity, source, fault=why), False, False
    member.arc = False
    block = member.take(end[0] + len(end[1]))
    if _UNWANTED.search(block) and (length := _LENGTH.search(block)) and int(length[1]) <= PAGE_BYTES:
        # Requests and metadata are most of an archive's records; their other fields are not looked at.
        return None, _passes(member, int(length[1])), True
    headers = _headers(block)
    identity = headers.get("warc-record-id") or identity
    url, added = headers.get("warc-target-uri", "").strip("<>"), headers.get("warc-date", "")[:10]
    kind = headers.get("warc-type", "")
    page = Page(identity, source, url=url, added=added)
    body, fault = _body(member, headers.get("content-length", ""))
    if kind not in ("response", "conversion", "resource"):
        return None, not fault, True
    if fault:
        return page.with_fault(fault), False, True
    if kind == "response" and url.startswith("http"):
        return _http_page(page, body, headers.get("warc-identified-payload-type", "")), True, True
    return _with_media_type(page, body, headers.get("content-type", "")), True, True


def _body(member: Member, length: str) -> tuple[bytes, str]:
    """What stands in a record that is as long as it says, passed over; or a fault, and the reader stays where the
    record's content begins: there the next record is looked for, since its length may be any number."""
    size = _number(length)
    if size is None:
        return b"", "a record without a length"
    if size > PAGE_BYTES + HEADER_BYTES:
        return b"", f"longer than {PAGE_BYTES:,} bytes"
    if not _ends_at(member, size):
        there = min(size, member.available)
        if there < size and not member.holds_record(there):
            return b"", f"breaks off: {there:,} of {size:,} bytes are there"
        return b"", f"its length is not the {size:,} bytes it says"
    if member.fault and not member.peek(1, size + 4).strip():
        # Its checksum is what shows that a member is damaged; of several records in it the last one pays.
        return b"", f"its gzip member {member.fault}"
    return member.take(size), ""


def _passes(member: Member, size: int) -> bool:
    """Moves behind a record, if it ends where it says."""
    if complete := _ends_at(member, size):
        member.skip(size)
    return complete


def _ends_at(member: Member, size: int) -> bool:
    """Whether the bytes from `size` on are what follows a record: blank lines, then a record or nothing."""
    if not member.fill(size):
        return False
    tail = member.peek(24, size)
    following = tail.lstrip(b"\r\n")
    if not following or following.startswith(b"WARC/"):
        return True
    if member.arc is not False and ARC.match(member.peek(8192, size).lstrip(b"\r\n")):
        return True
    # What follows is no record, but the blank lines are there, and no record was swallowed.
    return tail.startswith(b"\r\n\r\n") and not member.holds_record(size)


def _arc_record(member: Member, identity: str, source: str) -> _Read:
    end = member.match(_LINE_END, HEADER_BYTES)
    fields = member.peek(end[0] if end else 0).decode("latin-1").rsplit(" ", 4)
    if end is None or len(fields) < 5 or _number(fields[-1]) is None:
        member.skip(1)
        return Page(identity, source, fault="neither a WARC nor an ARC record"), False, False
    member.arc = True
    member.skip(end[0] + len(end[1]))
    url, day = fields[0], fields[2]
    page = Page(identity, source, url=url, added=f"{day[:4]}-{day[4:6]}-{day[6:8]}")
    body, fault = _body(member, fields[-1])
    if fault:
        return page.with_fault(fault), False, True
    if not url.startswith("http"):
        return None, True, True  # the archive's own header, or a name server's answer
    return _http_page(page, body, ""), True, True


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
        return page.with_fault("a response without an HTTP header")
    fields = _headers(head)
    status = head[:16].split(b" ")[1:2]
    if status and status[0].isdigit() and not 200 <= int(status[0]) < 300:
        return page.with_fault(f"answered with status {int(status[0])}")
    if "chunked" in fields.get("transfer-encoding", "").lower():
        content = _dechunk(content)
    coding = fields.get("content-encoding", "").lower()
    if coding in ("gzip", "x-gzip", "deflate") and (coding == "deflate" or content.startswith(GZIP[:2])):
        content = _inflate(content, coding)
        if content is None:
            return page.with_fault(f"its {coding} content does not inflate to at most {PAGE_BYTES:,} bytes")
    elif coding == "br" and content[:1] not in (b"<", b"\n", b" "):
        return page.with_fault("compressed with brotli, which archives should not keep")
    declared = fields.get("content-type", "")
    return _with_media_type(page, content, identified or declared, declared)


def _with_media_type(page: Page, content: bytes, kind: str, declared: str = "") -> Page:
    """The page with its content, when its media type is one that holds text to read."""
    if len(content) > PAGE_BYTES:
        return page.with_fault(f"longer than {PAGE_BYTES:,} bytes")
    media = kind.partition(";")[0].strip().lower()
    match = re.search(r"charset=[\"']?([\w.:-]+)", declared or kind, re.IGNORECASE)
    charset = match[1] if match else ""
    if media == "text/plain":
        return page.with_body(content, charset, html=False)
    if media in _HTML or (not media and content.lstrip()[:1] == b"<"):
        return page.with_body(content, charset, html=True)
    return page.with_fault(f"not HTML but {media[:60] or 'of no known type'}")


def _dechunk(content: bytes) -> bytes:
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


def _inflate(content: bytes, coding: str) -> bytes | None:
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
