"""The rows of a file of others, one at a time, and what of it cannot be read."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core import rowfiles
from herd.core.errors import DataError
from herd.core.rowfiles import MAX_DEPTH, RowError, iter_rows, row_files


def test_parquet_is_unpacked_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    file = tmp_path / "rows.parquet"
    # One text of 100 kB, 400 times: some kB on the disk, 40 MB unpacked.
    parquet.write_table(pyarrow.table({"prompt": ["x" * 100_000] * 400, "response": ["y"] * 400}), file)
    assert file.stat().st_size < 300_000
    sizes = []
    batches = parquet.ParquetFile.iter_batches

    def counted(self, rows: int):
        for batch in batches(self, rows):
            sizes.append(batch.nbytes)
            yield batch

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", counted)
    monkeypatch.setattr(rowfiles, "_BATCH_BYTES", 1_000_000)
    assert sum(1 for _ in rowfiles.iter_rows(file)) == 400
    assert max(sizes) < 2_000_000
    monkeypatch.setattr(rowfiles, "MAX_FILE_BYTES", 50_000)
    with pytest.raises(DataError, match="smaller row groups"):
        list(rowfiles.iter_rows(file))


def read(file: Path, content: str | bytes) -> list:
    """(line, row) of every row, with the reason in the place of one that is left out."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(number, row.reason if isinstance(row, RowError) else row) for number, row in iter_rows(file)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)


@given(st.lists(JSON, max_size=5), st.sampled_from(["a.jsonl", "a.json", "a.jsonl.gz"]))
def test_what_was_written_as_json_is_read_with_its_number(rows: list, name: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        text = json.dumps(rows) if name == "a.json" else "".join(f"{json.dumps(row)}\n" for row in rows)
        content = text.encode()
        assert read(Path(scratch, name), gzip.compress(content) if name.endswith("gz") else content) == list(
            enumerate(rows, 1)
        )


def test_lines_are_counted_with_those_that_are_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", "\n{}\n  \n[\n1") == [(2, {}), (4, "not JSON"), (5, 1)]


def test_one_row_too_large_or_too_deep_is_left_out_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep, within = (f"{'[' * depth}1{']' * depth}" for depth in (MAX_DEPTH + 1, MAX_DEPTH))
    found = read(tmp_path / "a.jsonl", f"{deep}\n{within}\n{'[' * 100_000}\n2")
    assert [row if isinstance(row, str | int) else "read" for _, row in found] == ["too deep", "read", "too deep", 2]
    monkeypatch.setattr(rowfiles, "MAX_ROW_BYTES", 10)
    long = json.dumps("x" * 3_000_000)  # many times what is passed over at once
    assert read(tmp_path / "a.jsonl", f"1\n{long}\n2\n{long}") == [(1, 1), (2, "too long"), (3, 2), (4, "too long")]


@pytest.mark.parametrize(("name", "between"), [("a.csv", ","), ("a.tsv", "\t"), ("A.CSV", ",")])
def test_tables_are_read_by_their_header_and_ragged_lines_left_out(name: str, between: str, tmp_path: Path) -> None:
    lines = [("prompt", "response"), ("a", '"b\n""c"""'), ("a",), ("a", "b", "c"), ("d", "")]
    text = "\ufeff" + "\r\n".join(between.join(line) for line in lines)
    assert read(tmp_path / name, text) == [
        (1, {"prompt": "a", "response": 'b\n"c"'}),
        (2, "ragged"),
        (3, "ragged"),
        (4, {"prompt": "d", "response": ""}),
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"a,b\n\xff,1\n", "is not UTF-8 .* at byte 4.*save it as UTF-8"),
        ("a.csv", b'a,b\n"' + b"x" * 2000 + b'",1\n', "is no table that can be read .field larger than field limit"),
        ("a.json", b"[1, 2", "the file is not JSON .*mend it"),
        ("a.json", b" " * 5001, "is larger than 0 GB; write it as JSON lines"),
        ("none.jsonl", None, "cannot be read: No such file or directory; name a file of rows"),
    ],
)
def test_what_is_wrong_with_a_whole_file_is_told_with_its_name(
    name: str, content: bytes | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rowfiles, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(rowfiles, "MAX_FILE_BYTES", 5000)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as told:
        list(iter_rows(tmp_path / name))
    assert str(told.value).startswith(str(tmp_path / name))


def test_rows_before_a_torn_end_are_given_and_the_line_is_told(tmp_path: Path) -> None:
    import random

    noise = random.Random(0)
    rows = [f'{{"n": {number}, "x": "{noise.getrandbits(800):x}"}}\n' for number in range(2000)]
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress("".join(rows).encode())[:-2000])
    given: list[int] = []
    with pytest.raises(DataError, match="breaks off after line") as told:
        given.extend(number for number, _ in iter_rows(file))
    assert 1000 < len(given) < 2000
    assert f"after line {given[-1]};" in str(told.value)


def test_halves_of_pairs_are_replaced_in_names_too(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", r'{"\ud800": ["\uDE00", "\ud83d\ude00"]}') == [
        (1, {"\ufffd": ["\ufffd", "\U0001f600"]})
    ]


def test_a_table_that_is_read_leaves_the_limit_of_fields_as_it_was(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    table = tmp_path / "rows.csv"
    table.write_text("a,b\n1,2\n")
    assert [row for _, row in iter_rows(table)] == [{"a": "1", "b": "2"}]
    assert csv.field_size_limit() == before


# ---- addresses, Arrow files, folders ----


def arrow_file(file: Path, rows: list[dict]) -> Path:
    import pyarrow

    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.OSFile(str(file), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    return file


def test_rows_at_an_address_are_read_packed_or_not() -> None:
    import pyarrow
    import pyarrow.parquet as parquet

    fsspec = pytest.importorskip("fsspec", reason="the package for addresses is not installed")
    system = fsspec.filesystem("memory")
    lines = b'{"a": 1}\n{"a": 2}\n'
    for name, data in (("a.jsonl", lines), ("b.jsonl.gz", gzip.compress(lines)), ("c.csv", b"a\n1\n2\n")):
        system.pipe_file(f"/rows/{name}", data)
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"a": [1, 2]}), sink)
    system.pipe_file("/rows/d.parquet", sink.getvalue().to_pybytes())
    files = row_files("memory://rows")
    assert [file.rpartition("/")[2] for file in files] == ["a.jsonl", "b.jsonl.gz", "c.csv", "d.parquet"]
    for file in files:
        assert [int(row["a"]) for _, row in iter_rows(file)] == [1, 2]
    with pytest.raises(DataError, match="there is no such file"):
        list(iter_rows("memory://rows/none.jsonl"))


def test_a_saved_data_set_is_read_and_what_lies_beside_its_rows_is_not(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{n}"}], "n": n} for n in range(20)]
    arrow_file(tmp_path / "train" / "data-00000-of-00001.arrow", rows)
    arrow_file(tmp_path / "test" / "data-00000-of-00001.arrow", rows[:1])
    for name in ("dataset_dict.json", "train/dataset_info.json", "train/state.json", "train/.hidden.jsonl"):
        (tmp_path / name).write_text("{}")
    (file,) = row_files(str(tmp_path), "train")
    assert [row for _, row in iter_rows(file)] == rows
    assert len(row_files(str(tmp_path))) == 2
    assert row_files(str(tmp_path / "t*" / "*.arrow")) == sorted(row_files(str(tmp_path)))
    with pytest.raises(DataError, match=r"data-.*\.arrow, after row 18: .*breaks off; fetch"):
        whole = Path(file).read_bytes()
        Path(file).write_bytes(whole[:-40])
        list(iter_rows(file))
    with pytest.raises(DataError, match="of split 'dev'"):
        row_files(str(tmp_path), "dev")


def test_state_json_is_a_file_of_rows_where_no_data_set_was_saved(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('[{"a": 1}]')
    assert row_files(str(tmp_path)) == [str(tmp_path / "state.json")]
