"""Files round what is broken in them: what stands before, between and behind is read, the break is told, and what a
folder holds beside is named."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from herd.cli import main
from herd.core.errors import DataError, SettingsError
from herd.corpus import members, row_groups, unpacking
from herd.corpus.pages import Page
from herd.corpus.reading import Part, read_pages
from herd.corpus.results import CorpusSize, CurationResult
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files, look_for
from herd.corpus.stages import curate, describe_input
from herd.corpus.warc import read_archive
from herd.run.runner import run
from tests.corpus.test_reading import response

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
        for page in read_pages(Part(str(folder / name), "mine")):
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


def test_members_with_a_wrong_checksum_are_rejects_one_by_one() -> None:
    packed = [bytearray(gzip.compress(record(n))) for n in range(6)]
    for n in (1, 2, 4):
        packed[n][-6] ^= 1
    found = archive(b"".join(packed))
    assert numbers(found) == [0, 3, 5]
    assert len(found) == 6


def test_records_before_the_damage_in_one_long_member_are_read() -> None:
    data = gzip.compress(b"".join(record(n) for n in range(300)))
    found = archive(data[: len(data) * 9 // 10])
    assert len(numbers(found)) >= 250
    assert len(found) == len(numbers(found)) + 1


def test_bytes_between_members_cost_nothing_but_themselves() -> None:
    packed = [gzip.compress(record(n)) for n in range(4)]
    found = archive(packed[0] + b"no member" + packed[1] + bytes(5_000) + packed[2] + packed[3] + bytes(512))
    assert numbers(found) == [0, 1, 2, 3]
    assert len(found) == 5


def test_a_file_of_beginnings_is_one_reject_and_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = 0
    match = members.Member.match

    def counted(member: members.Member, pattern: object, within: int) -> object:
        nonlocal searched
        found = match(member, pattern, within)  # type: ignore[arg-type]
        searched += within if found is None else found[0] + len(found[1])
        return found

    monkeypatch.setattr(members.Member, "match", counted)
    for line in (b"WARC/1.0\r\n", b"WARC/1.0\nA: b\n"):
        data = line * 20_000
        (page,) = archive(data)
        assert "header without an end" in page.fault
        assert searched <= 2 * len(data) + (1 << 17)
        searched = 0


def test_line_ends_between_records_are_passed_over_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    fill = members.Member.fill

    def counted(member: members.Member, size: int) -> bool:
        nonlocal calls
        calls += 1
        return fill(member, size)

    monkeypatch.setattr(members.Member, "fill", counted)
    found = archive(gzip.compress(record(0) + b"\r\n" * 5_000_000 + record(1)))
    assert numbers(found) == [0, 1]
    assert calls < 200
    monkeypatch.setattr(members, "SKIP_BYTES", 1 << 21)
    found = archive(gzip.compress(record(0) + b"\n" * 9_000_000 + record(1)) + gzip.compress(record(2)))
    assert numbers(found) == [0, 2]
    assert "that are no record" in found[1].fault


# ---- packed rows ----


@pytest.mark.parametrize(
    ("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)]
)
def test_rows_before_a_break_are_kept_and_counted(
    ending: str, pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "RAW_BYTES", 1 << 12)
    whole = pack(LINES)
    found, told = read(tmp_path, f"a.jsonl{ending}", whole)
    assert (len(found), told) == (400, "")
    found, told = read(tmp_path, f"a.jsonl{ending}", whole + b"padding")
    assert len(found) == 400
    assert "behind its end" in told
    assert "400 rows" in told
    found, told = read(tmp_path, f"a.jsonl{ending}", whole + whole)
    assert (len(found), told) == (800, "")
    found, told = read(tmp_path, f"a.jsonl{ending}", whole[: len(whole) * 9 // 10])
    assert "breaks off" in told
    assert f"{len(found)} rows" in told
    assert [page.body.decode() for page in found] == [row["text"] for row in ROWS[: len(found)]]
    if ending == ".gz":
        assert len(found) >= 340
        found, told = read(tmp_path, "a.jsonl.gz", whole[:-8])
        assert len(found) == 400


def test_rows_behind_a_torn_member_are_read(tmp_path: Path) -> None:
    whole = gzip.compress(LINES)
    found, told = read(tmp_path, "a.jsonl.gz", whole[: len(whole) // 2] + whole)
    assert len([page for page in found if not page.fault]) > 500
    assert told


def test_what_breaks_off_is_told_when_nothing_else_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(LINES)[:12])
    plan = curate((files(str(tmp_path / "a.jsonl.gz"), source="mine"),), settings=CurateSettings(rules={}))
    with pytest.raises(DataError, match=r"hold no pages; .*a\.jsonl\.gz: breaks off; what 0 rows"):
        run(plan, tmp_path / "run", jobs=0)


def long_window(data: bytes, window: int) -> bytes:
    """One frame of Zstandard with blocks as they stand, and a window of 2 ** window bytes."""
    blocks = [data[at : at + (1 << 17)] for at in range(0, len(data), 1 << 17)]
    heads = [(len(block) << 3 | (n == len(blocks) - 1)).to_bytes(3, "little") for n, block in enumerate(blocks)]
    return (
        b"\x28\xb5\x2f\xfd\x00"
        + bytes([window - 10 << 3])
        + b"".join(a + b for a, b in zip(heads, blocks, strict=True))
    )


def test_a_long_window_is_read_as_far_as_the_text_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for window in (20, 27, 28, 31):
        found, told = read(tmp_path, "a.jsonl.zst", long_window(LINES, window))
        assert (len(found), told) == (400, "")
    monkeypatch.setattr(unpacking, "WINDOW_BYTES", 1 << 17)
    found, told = read(tmp_path, "a.jsonl.zst", long_window(LINES * 10, 31))
    assert 400 < len(found) < 4_000
    assert "window of 2,147,483,648 bytes" in told
    assert "--long=31" in told


def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_not_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "FLOOR_BYTES", 1 << 20)
    found, told = read(tmp_path, "a.jsonl.zst", zstd(LINES + b"\n" * 100_000_000))
    assert len(found) == 400
    assert "1,000 times its size" in told


# ---- rows of other kinds ----


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(ROWS).encode(),
        json.dumps(ROWS, indent=2).encode(),
        b"\xef\xbb\xbf" + json.dumps({"version": 1, "data": ROWS}, indent=1).encode(),
        LINES,
        "\n".join(json.dumps(row, indent=1) for row in ROWS).encode(),
    ],
)
def test_json_is_a_list_lines_or_values(data: bytes, tmp_path: Path) -> None:
    found, told = read(tmp_path, "a.json", data)
    assert [page.body.decode() for page in found] == [row["text"] for row in ROWS]
    assert not told


def test_a_broken_row_in_a_list_costs_itself(tmp_path: Path) -> None:
    found, _ = read(
        tmp_path, "a.json", b'[\n{"text": "a"},\n{"text": bad},\n{"text": "b"},\n{"text": "c", ]\n,\n{"text": "d"}]'
    )
    assert [page.body for page in found if not page.fault] == [b"a", b"b", b"d"]
    assert len(found) == 5


@pytest.mark.parametrize("data", [b"[" * 500_000, b'{"a":' * 500_000, b'[{"text": "' + b"a" * 500_000])
def test_json_nested_without_end_is_counted(data: bytes, tmp_path: Path) -> None:
    found, _ = read(tmp_path, "a.json", data)
    assert [bool(page.fault) for page in found] == [True]


def test_fields_are_bounded(tmp_path: Path) -> None:
    rows = [{"text": "a", "id": "x" * 100_000}, {"text": "b", "url": {"deep": 1}}, {"text": 5}, {"text": "c", "id": 5}]
    found, _ = read(
        tmp_path,
        "a.jsonl",
        "\n".join(map(json.dumps, rows)).encode() + b'\n{"text": "d", "x": [' + b"[]," * 700_000 + b"1]}",
    )
    assert [page.body for page in found if not page.fault] == [b"c"]
    assert [
        word in page.fault
        for page, word in zip([*found[:3], found[4]], ("`id`", "`url`", "no text", "values"), strict=True)
    ] == [True] * 4


def test_blank_lines_are_passed_over_together_and_numbered(tmp_path: Path) -> None:
    found, _ = read(tmp_path, "a.jsonl", b'{"text": "a"}\n' + b"\n \n" * 1_000_000 + b'{"text": "b"}\n')
    assert [page.id for page in found] == ["a.jsonl:1", "a.jsonl:2000002"]


def test_parquet_that_inflates_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "_FLOOR_BYTES", 1 << 22)
    text = arrow.array(["long text " * 20_000])
    table = arrow.table({"text": arrow.DictionaryArray.from_arrays(arrow.array([0] * 100_000, arrow.int32()), text)})
    parquet.write_table(table, tmp_path / "t.parquet")
    found, told = read(tmp_path, "a.parquet", (tmp_path / "t.parquet").read_bytes())
    assert 0 < len(found) < 1_000
    assert "times its size" in told
    monkeypatch.setattr(row_groups, "PAGE_LIMIT", 1 << 20)
    parquet.write_table(arrow.table({"text": ["x" * (1 << 21)]}), tmp_path / "t.parquet", use_dictionary=False)
    (page,), told = read(tmp_path, "a.parquet", (tmp_path / "t.parquet").read_bytes())
    assert "unpacks to 2,097,1" in page.fault


def test_a_damaged_group_of_rows_costs_itself(tmp_path: Path) -> None:
    parquet.write_table(
        arrow.table({"text": [row["text"] for row in ROWS]}), tmp_path / "t.parquet", row_group_size=100
    )
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    start = parquet.ParquetFile(tmp_path / "t.parquet").metadata.row_group(1).column(0).dictionary_page_offset
    data[start + 40 : start + 90] = bytes(50)
    found, told = read(tmp_path, "a.parquet", bytes(data))
    assert len(found) == 300
    assert "group 1 of rows is damaged" in told


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
    found = look_for([str(tmp_path / "in")], source="mine")
    assert sorted(Path(file).name for file in found.readable) == ["a.txt", "b.txt"]
    assert sum(found.passed_over.values()) == 1


def test_names_that_are_no_utf8_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "in"
    source.mkdir()
    for name, data in ((b"p\xe9.txt", b"a page"), (b"q\xe9.jsonl.gz", gzip.compress(LINES)[:-8]), (b"r.\xe9", b"x")):
        Path(os.fsdecode(os.fsencode(source) + b"/" + name)).write_bytes(data)
    made = run(
        curate((files(str(source), source="mine"),), settings=CurateSettings(rules={})), tmp_path / "run", jobs=0
    )
    assert made.result(CorpusSize).documents == 401
    assert len(made.result(CurationResult).broken_files) == 1
    assert any("passed over" in line for line in describe_input([str(source)], "mine", CurateSettings(rules={})))
    with pytest.raises(SettingsError, match="an ending nobody reads"):
        look_for([os.fsdecode(os.fsencode(source) + b"/r.\xe9")], source="mine")
