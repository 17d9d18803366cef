"""What is wrong with a user's files is said before a run begins, where their first rows show it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from herd.core.errors import SettingsError
from herd.corpus.columns import ANY_TABLE, TextColumns
from herd.corpus.first_rows import check_text_columns

ROWS = [{"doc": f"d{number}", "body": f"a longer text of number {number}", "year": number} for number in range(20)]


def lines(file: Path, rows: list[dict]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def packed(file: Path, rows: list[dict]) -> None:
    file.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def listed(file: Path, rows: list[dict]) -> None:
    file.write_text(json.dumps(rows))


def columnar(file: Path, rows: list[dict]) -> None:
    parquet.write_table(arrow.Table.from_pylist(rows), file)


@pytest.mark.parametrize(
    ("name", "write"), [("a.jsonl", lines), ("a.jsonl.gz", packed), ("a.json", listed), ("a.parquet", columnar)]
)
def test_a_wrong_column_is_told_with_those_that_hold_text(
    name: str, write: Callable[[Path, list[dict]], None], tmp_path: Path
) -> None:
    file = tmp_path / name
    write(file, ROWS)
    with pytest.raises(SettingsError) as told:
        check_text_columns([str(file)], "web", ANY_TABLE)
    sentence = str(told.value)
    assert f"the first rows of {name} have no text in the column `text`; they have doc, body, year" in sentence
    assert "body and doc have text" in sentence
    assert "give --text-column body, or in a recipe `columns: {web: {text: body}}`" in sentence
    check_text_columns([str(file)], "web", TextColumns(text="body"))
    check_text_columns([str(file)], "web", TextColumns(text="x", html="body"))


def test_one_file_with_text_is_enough_and_what_cannot_be_read_is_left_to_the_run(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", ROWS)
    lines(tmp_path / "b.jsonl", [*({"text": None},) * 3, {"text": "here"}])
    (tmp_path / "c.txt").write_text("words")
    (tmp_path / "d.parquet").write_bytes(b"no table")
    (tmp_path / "e.jsonl").write_text("{broken\n")
    wrong = str(tmp_path / "a.jsonl")
    for name in ("b.jsonl", "c.txt", "d.parquet", "e.jsonl"):
        check_text_columns([wrong, str(tmp_path / name)], "web", ANY_TABLE)
    check_text_columns([wrong] * 21, "web", ANY_TABLE)  # too many to look into all
    check_text_columns(["s3://bucket/a.jsonl", wrong], "web", ANY_TABLE)


def test_rows_that_have_the_column_and_nothing_in_it_are_not_of_another(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", [{"text": None, "body": "b"}] * 3)
    check_text_columns([str(tmp_path / "a.jsonl")], "web", ANY_TABLE)


def test_files_of_no_bytes_are_told(tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(SettingsError, match=r"source web: .*a\.txt is empty; name a file that holds text"):
        check_text_columns([str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl")], "web", ANY_TABLE)
    (tmp_path / "c.txt").write_text("words")
    check_text_columns([str(tmp_path / name) for name in ("a.txt", "b.jsonl", "c.txt")], "web", ANY_TABLE)
