"""Raw files of every kind, whole and broken: every page is read, or counted with a reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Document
from herd.corpus.extract import decode, main_text
from herd.corpus.python_docs import _warc
from herd.corpus.reading import Page, read_pages
from herd.corpus.sources import files

HTML = "<html><body><nav>Home News</nav><main><p>Über the river and through the wood.</p></main></body></html>"


def warc(folder: Path, count: int = 5) -> Path:
    pages = [
        Document(
            id=f"<urn:uuid:{n:08}-0000-0000-0000-000000000000>",
            text=HTML,
            source="web",
            url=f"https://a.example/{n}",
            added="2024-03-01",
        )
        for n in range(count)
    ]
    file = folder / "pages.warc.gz"
    file.write_bytes(_warc(pages))
    return file


def test_a_warc_gives_its_pages(tmp_path: Path) -> None:
    pages = list(read_pages(warc(tmp_path), "web"))
    assert [page.url for page in pages] == [f"https://a.example/{n}" for n in range(5)]
    assert pages[0].added == "2024-03-01"
    assert isinstance(pages[0].body, bytes)
    text = decode(pages[0].body, pages[0].charset)
    assert text is not None
    assert main_text(text) == "Über the river and through the wood."


@pytest.mark.parametrize("kept", [0.3, 0.55, 0.9, 0.99])
def test_a_warc_that_breaks_off_is_told_with_the_byte(kept: float, tmp_path: Path) -> None:
    file = warc(tmp_path)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * kept)])
    read: list[Page] = []
    with pytest.raises(DataError, match=r"pages\.warc\.gz.*fetch the file again, or set curate\.broken_files"):
        read.extend(read_pages(file, "web"))


def test_a_missing_file_and_an_unknown_ending_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        list(read_pages(tmp_path / "a.warc.gz", "web"))
    with pytest.raises(DataError, match="no reader for this ending"):
        list(read_pages(tmp_path / "a.docx", "web"))


def test_json_lines_keep_their_columns_and_count_what_is_none(tmp_path: Path) -> None:
    rows = [
        '{"text": "hello", "id": "1", "url": "u", "date": "2024-03-01T00:00:00Z"}',
        "{",
        "[1]",
        '{"title": "x"}',
        "",
    ]
    for file in (tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"):
        data = "\n".join(rows).encode()
        file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
        pages = list(read_pages(file, "mine"))
        assert (pages[0].body, pages[0].id, pages[0].added, pages[0].source) == ("hello", "1", "2024-03-01", "mine")
        assert [page.fault for page in pages[1:]] == [
            "not JSON",
            "not a JSON object",
            "has no text in the field `text`",
        ]


def test_a_gzip_that_breaks_off_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(json.dumps({"text": "x" * 9999}).encode())[:-20])
    with pytest.raises(DataError, match="breaks off"):
        list(read_pages(file, "mine"))


def test_parquet_and_a_file_that_only_says_so(tmp_path: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    file = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"text": ["one", None, "three"], "url": ["u", "v", "w"]}), file)
    pages = list(read_pages(file, "mine"))
    assert [page.body for page in pages if not page.fault] == ["one", "three"]
    assert pages[1].fault
    file.write_bytes(b"PAR1nonsense")
    with pytest.raises(DataError, match="no Parquet file or a damaged one"):
        list(read_pages(file, "mine"))


def test_text_that_is_not_utf_8_is_counted_with_its_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"abc\xff")
    (page,) = read_pages(tmp_path / "a.txt", "mine")
    assert page.fault == "not UTF-8 at byte 3"


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("Grüße".encode("latin-1"), "iso-8859-1", "Grüße"),
        ("Grüße".encode(), "", "Grüße"),
        (b'<meta charset="windows-1252">' + "Grüße …".encode("cp1252"), "", '<meta charset="windows-1252">Grüße …'),
        ("Grüße".encode("utf-8-sig"), "", "Grüße"),
    ],
)
def test_pages_in_other_encodings_are_decoded(body: bytes, charset: str, text: str) -> None:
    assert decode(body, charset) == text


def test_bytes_that_are_no_text_are_no_page() -> None:
    assert decode(bytes(range(256)) * 40) is None


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
