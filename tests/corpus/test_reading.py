"""Raw files of every kind, whole and broken: every page is read, or counted with a reason."""

from __future__ import annotations

import gzip
import io
import json
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError, SettingsError
from herd.corpus import reading, tables
from herd.corpus.extract import decode
from herd.corpus.members import Span
from herd.corpus.pages import PAGE_BYTES, Page
from herd.corpus.reading import Part, parts_of, read_pages
from herd.corpus.sources import files
from herd.corpus.warc import read_archive, write_warc

DATA = Path(__file__).parents[3] / "shared" / "data"
HTML = "<html><body><nav>Home News</nav><main><p>Über the river and through the wood.</p></main></body></html>"


def pages(count: int = 5, html: str = HTML) -> list[Page]:
    return [
        Page(
            f"<urn:uuid:{n:08}-0000-0000-0000-000000000000>",
            "web",
            html.encode(),
            f"https://a.example/{n}",
            "2024-03-01",
            "utf-8",
        )
        for n in range(count)
    ]


def warc(folder: Path, count: int = 5) -> Path:
    file = folder / "pages.warc.gz"
    file.write_bytes(write_warc(pages(count)))
    return file


def read(data: bytes, span: Span = Span()) -> list[Page]:  # noqa: B008
    return list(read_archive(io.BytesIO(data), "pages.warc.gz", "web", span))


def record(kind: str, body: bytes, *, length: int | None = None, url: str = "https://a.example/") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Record-ID: <urn:x>\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body + b"\r\n\r\n"


def response(html: bytes = HTML.encode(), head: str = "Content-Type: text/html") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + html


# ---- archives ----


def test_a_warc_gives_its_pages(tmp_path: Path) -> None:
    found = list(read_pages(Part(str(warc(tmp_path)), "web")))
    assert [page.url for page in found] == [f"https://a.example/{n}" for n in range(5)]
    assert (found[0].added, found[0].charset, found[0].body) == ("2024-03-01", "utf-8", HTML.encode())


@given(st.integers(1, 12), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_parts_of_an_archive_hold_every_page_once(count: int, seed: int) -> None:
    chance = random.Random(seed)
    data = write_warc(pages(40))
    cuts = sorted(chance.randrange(1, len(data)) for _ in range(count))
    spans = [Span(a, b) for a, b in zip([0, *cuts], [*cuts, 1 << 62], strict=True)]
    assert [page.url for span in spans for page in read(data, span)] == [page.url for page in read(data)]


def test_a_large_archive_is_several_parts(tmp_path: Path) -> None:
    file = warc(tmp_path, 20)
    parts = parts_of(str(file), "web", 500)
    assert len(parts) > 3
    assert [page.url for part in parts for page in read_pages(part)] == [f"https://a.example/{n}" for n in range(20)]


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


# ---- tables and texts ----


def test_a_missing_file_and_an_unknown_ending_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        list(read_pages(Part(str(tmp_path / "a.warc.gz"), "web")))
    with pytest.raises(DataError, match="no reader for this ending"):
        list(read_pages(Part(str(tmp_path / "a.docx"), "web")))


def zstd(data: bytes) -> bytes:
    import pyarrow as arrow

    out = arrow.BufferOutputStream()
    with arrow.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("ending", "compress"), [(".jsonl", bytes), (".jsonl.gz", gzip.compress), (".jsonl.zst", zstd)]
)
def test_json_lines_keep_their_columns_and_count_what_is_none(ending: str, compress, tmp_path: Path) -> None:
    rows = [
        '{"text": "hello", "id": "1", "url": "u", "date": "2024-03-01T00:00:00Z"}',
        "{",
        "[1]",
        '{"title": "x"}',
        "",
        '{"html": "<p>page</p>", "metadata": {"url": "v"}}',
        "[" * 100_000,
    ]
    file = tmp_path / f"a{ending}"
    file.write_bytes(compress("\n".join(rows).encode()))
    found = list(read_pages(Part(str(file), "mine")))
    assert (found[0].body, found[0].id, found[0].added, found[0].source) == (b"hello", "1", "2024-03-01", "mine")
    assert (found[4].body, found[4].url, found[4].html) == (b"<p>page</p>", "v", True)
    assert [page.fault for page in found if page.fault] == [
        "not JSON",
        "not a JSON object",
        "has no text in the field `text` and no page in `html`",
        "not JSON",
    ]


def test_a_line_without_end_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "LINE_BYTES", 3_000_000)
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"text": "' + b"x" * 9_000_000 + b'"}\n{"text": "after"}\n')
    found = list(read_pages(Part(str(file), "mine")))
    assert "longer than" in found[0].fault
    assert found[1].body == b"after"


def test_a_gzip_that_breaks_off_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps({"text": "x" * 9999}).encode())[:-20])
    with pytest.raises(DataError, match="breaks off"):
        list(read_pages(Part(str(file), "mine")))


def test_parquet_and_a_file_that_only_says_so(tmp_path: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    file = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"text": ["one", None, "three"], "url": ["u", "v", "w"]}), file)
    found = list(read_pages(Part(str(file), "mine")))
    assert [page.body for page in found if not page.fault] == [b"one", b"three"]
    assert found[1].fault
    file.write_bytes(b"PAR1nonsense")
    with pytest.raises(DataError, match="no Parquet file or a damaged one"):
        list(read_pages(Part(str(file), "mine")))


def test_a_page_that_is_too_long_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    with file.open("wb") as out:
        out.truncate(PAGE_BYTES + 1)
    (page,) = read_pages(Part(str(file), "web"))
    assert page.fault == f"longer than {PAGE_BYTES:,} bytes"


def test_addresses_are_read_by_fsspec() -> None:
    fsspec = pytest.importorskip("fsspec", reason="the package for addresses is not installed")
    system = fsspec.filesystem("memory")
    system.pipe_file("/crawl/a.warc.gz", write_warc(pages(3)))
    system.pipe_file("/crawl/b.txt", b"text")
    assert reading.found_at("memory://crawl/*") == ["memory://crawl/a.warc.gz", "memory://crawl/b.txt"]
    assert len(list(read_pages(Part("memory://crawl/a.warc.gz", "web")))) == 3
    assert reading.checksum("memory://crawl/b.txt") != reading.checksum("memory://crawl/a.warc.gz")
    with pytest.raises(DataError, match="there is no such file"):
        reading.open_file("memory://crawl/none.txt")


# ---- encodings ----


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("Grüße".encode("latin-1"), "iso-8859-1", "Grüße"),
        ("Grüße".encode(), "", "Grüße"),
        (b'<meta charset="windows-1252">' + "Grüße …".encode("cp1252"), "", '<meta charset="windows-1252">Grüße …'),
        ("Grüße".encode("utf-8-sig"), "", "\ufeffGrüße"),
        ("<p>Привет, мир</p>".encode("koi8-r"), "koi8-r", "<p>Привет, мир</p>"),
        ("<p>你好</p>".encode("gb2312"), "gb2312", "<p>你好</p>"),
        ("<p>Grüße</p>".encode("utf-16"), "", "<p>Grüße</p>"),
        (b"abc" + "ü".encode()[:1], "", "abc\ufffd"),
        ("Grüße".encode("latin-1"), "no-such-charset", "Grüße"),
    ],
)
def test_pages_in_other_encodings_are_decoded(body: bytes, charset: str, text: str) -> None:
    found = decode(body, charset)
    assert found is not None
    assert found.decode() == text


def test_bytes_that_are_no_text_are_no_page() -> None:
    assert decode(bytes(range(256)) * 40) is None


# ---- naming files ----


def test_files_are_named_by_folder_pattern_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("a")
    (tmp_path / "in" / "deep" / "b.md").write_text("b")
    (tmp_path / "in" / "c.bin").write_text("c")
    whole = files(str(tmp_path / "in"), source="mine")
    assert whole.key == files(str(tmp_path / "in" / "*.txt"), str(tmp_path / "in" / "deep"), source="mine").key
    assert whole.key != files(str(tmp_path / "in" / "a.txt"), source="mine").key
    (tmp_path / "in" / "a.txt").write_text("changed")
    assert whole.key != files(str(tmp_path / "in"), source="mine").key
    with pytest.raises(SettingsError, match="names no file; check the path"):
        files(str(tmp_path / "none"), source="mine")
    with pytest.raises(SettingsError, match="an ending nobody reads"):
        files(str(tmp_path / "in" / "c.bin"), source="mine")
