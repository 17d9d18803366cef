"""Raw files of every kind, whole and broken: every page is read, or counted with a reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from herd.core.errors import DataError, SettingsError
from herd.corpus.extract import decode
from herd.corpus.pages import PAGE_BYTES, Page
from herd.corpus.reading import FileSpan, read_pages, split_file
from herd.corpus.sources import files
from herd.corpus.warc import write_warc

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


# ---- archives ----


def test_a_warc_gives_its_pages(tmp_path: Path) -> None:
    found = list(read_pages(FileSpan(str(warc(tmp_path)), "web")))
    assert [page.url for page in found] == [f"https://a.example/{n}" for n in range(5)]
    assert (found[0].added, found[0].charset, found[0].body) == ("2024-03-01", "utf-8", HTML.encode())


def test_a_large_archive_is_several_parts(tmp_path: Path) -> None:
    file = warc(tmp_path, 20)
    parts = split_file(FileSpan(str(file), "web"), 500)
    assert len(parts) > 3
    assert [page.url for part in parts for page in read_pages(part)] == [f"https://a.example/{n}" for n in range(20)]


# ---- tables and texts ----


def test_a_missing_file_and_an_unknown_ending_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        list(read_pages(FileSpan(str(tmp_path / "a.warc.gz"), "web")))
    with pytest.raises(DataError, match="no reader for this ending"):
        list(read_pages(FileSpan(str(tmp_path / "a.docx"), "web")))


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
    found = list(read_pages(FileSpan(str(file), "mine")))
    assert (found[0].body, found[0].id, found[0].added, found[0].source) == (b"hello", "1", "2024-03-01", "mine")
    assert (found[4].body, found[4].url, found[4].html) == (b"<p>page</p>", "v", True)
    assert [page.fault for page in found if page.fault] == [
        "not JSON",
        "not a JSON object",
        "has no text in the field `text` and no page in `html`; it has title",
        "not JSON",
    ]


def test_a_gzip_that_breaks_off_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps({"text": "x" * 9999}).encode())[:-20])
    with pytest.raises(DataError, match="breaks off"):
        list(read_pages(FileSpan(str(file), "mine")))


def test_a_page_that_is_too_long_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "a.html"
    with file.open("wb") as out:
        out.truncate(PAGE_BYTES + 1)
    (page,) = read_pages(FileSpan(str(file), "web"))
    assert page.fault == f"longer than {PAGE_BYTES:,} bytes"


def test_addresses_are_read_by_fsspec() -> None:
    fsspec = pytest.importorskip("fsspec", reason="the package for addresses is not installed")
    fsspec.filesystem("memory").pipe_file("/crawl/a.warc.gz", write_warc(pages(3)))
    assert len(list(read_pages(FileSpan("memory://crawl/a.warc.gz", "web")))) == 3


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
