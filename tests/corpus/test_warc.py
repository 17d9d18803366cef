"""Web archives as they are found: what is a page, what is none and why, and what damage costs."""

from __future__ import annotations

import gzip
import io
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.corpus.members import Span
from herd.corpus.pages import PAGE_BYTES, Page
from herd.corpus.warc import read_archive, read_unpacked, write_warc
from tests.corpus.test_reading import DATA, HTML, pages


def read(data: bytes, span: Span = Span()) -> list[Page]:  # noqa: B008
    return list(read_archive(io.BytesIO(data), "pages.warc.gz", "web", span))


def record(kind: str, body: bytes, *, length: int | None = None, url: str = "https://a.example/") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Record-ID: <urn:x>\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body + b"\r\n\r\n"


def response(html: bytes = HTML.encode(), head: str = "Content-Type: text/html") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + html


@pytest.mark.parametrize("kept", [0.3, 0.55, 0.9, 0.99])
def test_an_archive_that_breaks_off_gives_all_before_and_counts_the_break(kept: float) -> None:
    data = write_warc(pages(10))
    found = read(data[: int(len(data) * kept)])
    whole = [page for page in found if not page.fault]
    assert [page.url for page in whole] == [f"https://a.example/{n}" for n in range(len(whole))]
    assert len(whole) >= int(10 * kept) - 1
    assert all("breaks off" in page.fault for page in found if page.fault)


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=60)
def test_a_damaged_member_costs_one_page(seed: int) -> None:
    """Bytes in the middle of one member are overwritten: the others are read, the damaged one is counted or
    was damaged where it does not show."""
    chance = random.Random(seed)
    members = [write_warc([page]) for page in pages(8)]
    hurt = chance.randrange(8)
    bad = bytearray(members[hurt])
    at = chance.randrange(20, len(bad) - 12)
    bad[at : at + 6] = bytes(chance.randrange(256) for _ in range(6))
    members[hurt] = bytes(bad)
    found = read(b"".join(members))
    good = [page.url for page in found if not page.fault]
    others = [f"https://a.example/{n}" for n in range(8) if n != hurt]
    assert [url for url in good if url in others] == others
    assert len(found) in (7, 8)


def test_a_bomb_is_passed_over_without_being_inflated() -> None:
    bomb = gzip.compress(record("response", response(b"\0" * 1000), length=50_000_000_000) + b"\0" * 300_000_000, 9)
    found = read(write_warc(pages(1)) + bomb + write_warc(pages(2)))
    assert [bool(page.fault) for page in found] == [False, True, False, False]
    assert "longer than" in found[1].fault


@pytest.mark.parametrize("length", [10, 60, 400, 5000])
def test_a_record_that_lies_about_its_length_costs_itself_only(length: int) -> None:
    true = record("response", response())
    lie = record("response", response(), length=length)
    for joined, packed in ((false, zipped) for false in (lie,) for zipped in (True, False)):
        data = b"".join(gzip.compress(one) if packed else one for one in (true, joined, true))
        found = read(data)
        assert sum(not page.fault for page in found) >= (2 if packed else 1)
        assert any(page.fault for page in found)
        assert not any(page.body and page.body != HTML.encode() for page in found)


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\nx", "answered with status 404"),
        (response(head="Content-Type: application/pdf"), "not HTML but application/pdf"),
        (b"no header at all", "without an HTTP header"),
        (response(b"\x1f\x8bnot gzip", "Content-Type: text/html\r\nContent-Encoding: gzip"), "does not inflate"),
        (response(b"x" * (PAGE_BYTES + 9)), "longer than"),
    ],
)
def test_what_is_no_page_says_why(body: bytes, fault: str) -> None:
    (page,) = read(gzip.compress(record("response", body)))
    assert fault in page.fault
    assert not page.body


def test_transfer_and_content_codings_are_undone() -> None:
    html = HTML.encode()
    chunked = b"%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (20, html[:20], len(html) - 20, html[20:])
    for body, head in (
        (chunked, "Transfer-Encoding: chunked"),
        (gzip.compress(html), "Content-Encoding: gzip"),
        (zlib.compress(html), "Content-Encoding: deflate"),
    ):
        (page,) = read(gzip.compress(record("response", response(body, f"Content-Type: text/html\r\n{head}"))))
        assert page.body == html


def test_other_records_are_no_pages() -> None:
    data = b"".join(record(kind, b"x: y") for kind in ("warcinfo", "request", "metadata", "revisit"))
    assert read(
        data
        + record("conversion", b"plain text", url="u").replace(
            b"\r\nWARC-Rec", b"\r\nContent-Type: text/plain\r\nWARC-Rec"
        )
    ) == [Page("<urn:x>", "web", b"plain text", "u", html=False)]


def test_arc_is_read() -> None:
    body = response()
    head = f"http://a.example/ 192.0.2.1 20080401120000 text/html {len(body)}\n".encode()
    (page,) = read(gzip.compress(head + body + b"\n"))
    assert (page.url, page.added, page.body) == ("http://a.example/", "2008-04-01", HTML.encode())


@pytest.mark.skipif(not DATA.is_dir(), reason="real archives lie outside the repository")
@pytest.mark.parametrize(
    "name", sorted(str(f.relative_to(DATA)) for f in (DATA / "warc").rglob("*") if f.is_file()) or ["none"]
)
def test_real_archives_good_and_broken_are_read_to_their_ends(name: str) -> None:
    with (DATA / name).open("rb") as stream:
        found = list(read_archive(stream, name, "web"))
    counts = {"warc/aut_example.warc.gz": 299, "warc/dolma_sample-0000.warc.gz": 24, "warc/cc_whirlwind.warc.gz": 1}
    assert len(found) == counts.get(name, len(found))
    assert found or not any(kind in name for kind in ("warc.gz", ".wet"))
    assert not any(page.fault and page.body for page in found)


WORDS = st.text("abcxyz0189-_.", min_size=1, max_size=9)


@given(st.lists(st.tuples(WORDS, st.binary(max_size=80), st.sampled_from(["", "utf-8", "windows-1252"])), max_size=4))
def test_what_is_written_is_read_back_to_the_byte(rows: list[tuple[str, bytes, str]]) -> None:
    written = [
        Page(f"<urn:{word}>", "web", body, f"https://{word}.example/", "2024-03-01", charset)
        for word, body, charset in rows
    ]
    data = write_warc(written)
    assert read(data) == written
    plain = gzip.decompress(data) if data else b""
    assert list(read_archive(io.BytesIO(plain), "a.warc", "web")) == written
    assert list(read_unpacked(io.BytesIO(plain), "a.warc.zst", "web")) == written


def page_of(body: bytes, **other: str) -> Page:
    fields = "".join(f"\r\n{name.replace('_', '-')}: {value}" for name, value in other.items()).encode()
    data = record("response", body).replace(b"\r\nWARC-Record-ID", fields + b"\r\nWARC-Record-ID")
    (page,) = read(gzip.compress(data))
    return page


@pytest.mark.parametrize(
    ("head", "charset", "html"),
    [
        ("Content-Type: text/html; charset=ISO-8859-1", "ISO-8859-1", True),
        ('content-type: Text/HTML;charset="utf-8"', "utf-8", True),
        ("Content-Type: application/xhtml+xml", "", True),
        ("Content-Type: text/plain; charset=koi8-r", "koi8-r", False),
        ("X-Other: 1", "", True),  # no type, but it begins with a tag
        ("Content-Type: text/html\r\nContent-Type: image/png", "", True),  # the first of several counts
    ],
)
def test_a_page_is_of_the_kind_its_server_said(head: str, charset: str, html: bool) -> None:
    page = page_of(response(HTML.encode(), head))
    assert (page.charset, page.html, page.body, page.fault) == (charset, html, HTML.encode(), "")


def test_what_the_archive_found_out_counts_before_what_the_server_said() -> None:
    told = response(HTML.encode(), "Content-Type: application/octet-stream; charset=utf-8")
    found = page_of(told, WARC_Identified_Payload_Type="text/html")
    assert (found.charset, found.html, found.fault) == ("utf-8", True, "")
    assert "not HTML but image/png" in page_of(response(), WARC_Identified_Payload_Type="image/png").fault


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"HTTP/1.1 301 Moved\r\nContent-Type: text/html\r\n\r\n<p>", "answered with status 301"),
        (b"HTTP/1.1 206 Partial\r\nContent-Type: text/html\r\n\r\n<p>", ""),
        (b"HTTP/1.1 200 OK\nContent-Type: text/html\n\n<p>", ""),
        (response(b"bytes", "X-Other: 1"), "not HTML but of no known type"),
        (response(b"\x8b\x02", "Content-Type: text/html\r\nContent-Encoding: br"), "compressed with brotli"),
        (response(b"<p>", "Content-Type: text/html\r\nContent-Encoding: br"), ""),  # unpacked, and nobody took it off
        (response(b"<p>", "Content-Type: text/html\r\nContent-Encoding: gzip"), ""),
    ],
)
def test_answers_are_pages_or_say_why_not(body: bytes, fault: str) -> None:
    page = page_of(body)
    assert page.fault == fault if not fault else fault in page.fault
    assert bool(page.body) == (not fault)


def test_content_that_inflates_without_end_is_no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("herd.corpus.warc.PAGE_BYTES", 1000)
    for coding, data in (("gzip", gzip.compress(b"<" * 1001)), ("deflate", zlib.compress(b"<" * 1001))):
        page = page_of(response(data, f"Content-Type: text/html\r\nContent-Encoding: {coding}"))
        assert page.fault == f"its {coding} content does not inflate to at most 1,000 bytes"
    raw = zlib.compressobj(wbits=-15)
    bare = raw.compress(HTML.encode()) + raw.flush()  # as some servers send it
    assert page_of(response(bare, "Content-Type: text/html\r\nContent-Encoding: deflate")).body == HTML.encode()


def test_chunks_that_do_not_add_up_are_read_as_far_as_they_do() -> None:
    for sent, body in (
        (b"3\r\n<p>\r\n0\r\n\r\n", b"<p>"),
        (b"3;name=x\r\n<p>\r\n2\r\nab\r\n", b"<p>ab"),
        (b"3\r\n<p>\r\nnone\r\nab", b"<p>"),
        (b"<p>never cut</p>", b"<p>never cut</p>"),
    ):
        assert page_of(response(sent, "Content-Type: text/html\r\nTransfer-Encoding: chunked")).body == body


def test_a_page_is_called_by_its_record_or_by_its_place() -> None:
    body = response()
    (named,) = read(gzip.compress(record("response", body)))
    assert named.id == "<urn:x>"
    bare = [record("response", body, url="<https://a.example/>").replace(b"WARC-Record-ID: <urn:x>\r\n", b"")] * 2
    first, second = read(b"".join(bare))
    assert (first.id, second.id, first.url) == ("pages.warc.gz@0/1", "pages.warc.gz@0/2", "https://a.example/")
    first, second = read(b"".join(map(gzip.compress, bare)))
    assert (first.id, second.id) == ("pages.warc.gz@0", f"pages.warc.gz@{len(gzip.compress(bare[0]))}")


def test_a_record_without_a_length_or_a_header_is_told() -> None:
    good = record("response", response())
    for wrong, fault in (
        (good.replace(b"Content-Length: ", b"Content-Length: x"), "a record without a length"),
        (b"WARC/1.0\r\nWARC-Type: response\r\nnever ends", "a record header without an end"),
        (b"something else\r\n", "neither a WARC nor an ARC record"),
    ):
        found = read(gzip.compress(wrong) + gzip.compress(good))
        assert [page.fault for page in found] == [fault, ""]
