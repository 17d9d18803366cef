"""Files round what is broken in them: what stands before, between and behind is read, the break is told, and what a
folder holds beside is named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
from pathlib import Path

import pyarrow as arrow
import pytest

from herd.cli import main
from herd.core.errors import DataError, SettingsError
from herd.corpus.pages import Page
from herd.corpus.reading import FileSpan, read_pages
from herd.corpus.results import CorpusSize, CurationResult
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files, scan_files
from herd.corpus.stages import curate, describe_input
from herd.corpus.warc import read_archive
from herd.run.runner import run_stages
from tests.corpus.test_warc import response

ROWS = [{"text": f"row {n} of a table, {n * 7919 % 104729} and {n * 104729 % 7919}"} for n in range(400)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def record(number: int, *, length: int | None = None, end: bytes = b"\r\n") -> bytes:
    body = response(b"<p>page %d</p>" % number)
    size = len(body) if length is None else length
    head = [b"WARC/1.0", b"WARC-Type: response", b"WARC-Target-URI: https://a.example/%d" % number]
    return end.join([*head, b"Content-Length: %d" % size, b"", b""]) + body + end + end


def archive(data: bytes) -> list[Page]:
    return list(read_archive(io.BytesIO(data), "a.warc", "web"))


def numbers(pages: list[Page]) -> list[int]:
    return [int(page.url.rpartition("/")[2]) for page in pages if not page.fault]


def zstd(data: bytes) -> bytes:
    out = arrow.BufferOutputStream()
    with arrow.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return out.getvalue().to_pybytes()


def read(folder: Path, name: str, data: bytes) -> tuple[list[Page], str]:
    """The pages of a file, and how it is told to break off."""
    (folder / name).write_bytes(data)
    found: list[Page] = []
    try:
        for page in read_pages(FileSpan(str(folder / name), "mine")):
            found.append(page)
    except DataError as fault:
        return found, str(fault)
    return found, ""


# ---- archives ----


@pytest.mark.parametrize("length", [0, 7, 700, 40_000, 15_000_000, 300_000_000, 10**14])
@pytest.mark.parametrize("at", [0, 3, 9])
def test_a_lying_length_costs_one_record_of_ten(length: int, at: int) -> None:
    data = [record(n, length=length if n == at else None) for n in range(10)]
    for joined in (b"".join(data), gzip.compress(b"".join(data)), b"".join(map(gzip.compress, data))):
        found = archive(joined)
        assert numbers(found) == [n for n in range(10) if n != at]
        assert len(found) == 10


def test_a_lying_length_costs_one_record_of_an_arc() -> None:
    body = response()
    for length in (3, 5_000):
        heads = [
            f"http://a.example/{n} 192.0.2.1 20080401120000 text/html {length if n == 1 else len(body)}\n".encode()
            for n in range(5)
        ]
        found = archive(b"".join(head + body + b"\n" for head in heads))
        assert numbers(found) == [0, 2, 3, 4]
        assert len(found) == 5


def test_records_may_end_their_lines_with_a_line_feed_alone() -> None:
    assert numbers(archive(b"".join(record(n, end=b"\n") for n in range(4)))) == [0, 1, 2, 3]


def test_a_record_without_its_version_line_costs_itself() -> None:
    data = record(0) + record(1).removeprefix(b"WARC/1.0\r\n") + record(2)
    assert numbers(archive(data)) == [0, 2]
    assert len(archive(data)) == 3


# ---- packed rows ----


def test_what_breaks_off_is_told_when_nothing_else_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES)[:12])
    plan = curate((files(str(tmp_path / "a.jsonl.gz"), source="mine"),), settings=CurateSettings(rules={}))
    with pytest.raises(DataError, match=r"hold no pages; .*a\.jsonl\.gz: breaks off; what 0 rows"):
        run_stages(plan, tmp_path / "run", jobs=0)


# ---- rows of other kinds ----


# ---- folders ----


def folder_of_many(folder: Path) -> Path:
    (folder / "in" / "deep").mkdir(parents=True)
    row = b'{"text": "a row of text"}\n'
    for name, data in {
        "a.jsonl": row,
        "b.ndjson": row,
        "c.json": b"[" + row + b"]",
        "d.jsonl.xz": lzma.compress(row),
        "e.JSONL.BZ2": bz2.compress(row),
        "f.json.zst": zstd(row),
        "G.JSONL.GZ": gzip.compress(row),
        "h.SHTML": b"<p>A row of text, and more of it.</p>",
        "i.txt.gz": gzip.compress(b"a row of text"),
        "deep/j.docx": b"x",
        "k.docx": b"x",
        "l": b"x",
        "m.csv.gz": b"x",
    }.items():
        (folder / "in" / name).write_bytes(data)
    return folder / "in"


def test_every_ending_is_read_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    source = folder_of_many(tmp_path)
    rules = tmp_path / "none.yaml"
    rules.write_text("rules: {}\n")
    named = "4 files passed over, whose endings nobody reads: 2 .docx, 1 (none), 1 .csv.gz"
    for dry in (["--dry-run"], []):
        assert not main(["curate", str(source), "--out", str(tmp_path / "out"), "--rules", str(rules), *dry])
        shown = capsys.readouterr().out
        assert named in shown
        assert ("9 files" if dry else "kept                               9") in shown


def test_links_to_folders_are_entered_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.txt").write_text("a")
    (tmp_path / "blob").write_text("b")
    (tmp_path / "in" / "near").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "b.txt").symlink_to(tmp_path / "blob")
    (tmp_path / "in" / "gone.txt").symlink_to(tmp_path / "nowhere")
    found = scan_files([str(tmp_path / "in")], source="mine")
    assert sorted(Path(file).name for file in found.readable) == ["a.txt", "b.txt"]
    assert sum(found.passed_over.values()) == 1


def test_names_that_are_no_utf8_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "in"
    source.mkdir()
    for name, data in ((b"p\xe9.txt", b"a page"), (b"q\xe9.jsonl.gz", gzip.compress(LINES)[:-8]), (b"r.\xe9", b"x")):
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_bytes(data)
    made = run_stages(
        curate((files(str(source), source="mine"),), settings=CurateSettings(rules={})), tmp_path / "run", jobs=0
    )
    assert made.result(CorpusSize).documents == 401
    assert len(made.result(CurationResult).broken_files) == 1
    assert any("passed over" in line for line in describe_input({"mine": [str(source)]}, CurateSettings(rules={})))
    with pytest.raises(SettingsError, match="an ending nobody reads"):
        scan_files([os.fsdecode(os.fsencode(source) + b"/r.\xe9")], source="mine")
