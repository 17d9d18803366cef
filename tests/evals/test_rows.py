"""Examples from a user's own files: every row is one, or is told with its file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd.core.errors import DataError
from herd.core.rowfiles import ROW_SUFFIXES
from herd.evals.rows import DatasetRow, files_of, load_examples, split_fewshot, text_in
from herd.evals.task import Example
from tests.evals.test_tasks import SUMS, made, written


def held(row: DatasetRow) -> tuple[DatasetRow, str]:
    return row, text_in(row, "answer")


def lines(file: Path, *rows: object) -> str:
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def test_a_folder_is_read_as_a_data_set_on_the_hub_and_by_split(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    written(tmp_path / "data" / "test-00000-of-00001.parquet", SUMS[:2])
    written(tmp_path / "data" / "train-00000-of-00001.parquet", SUMS[2:])
    (tmp_path / "README.md").write_text("a card")
    assert len(made("short_answer", data=str(tmp_path)).examples) == 6
    assert len(made("short_answer", data=str(tmp_path), split="test").examples) == 2
    with pytest.raises(DataError, match="of split 'dev'"):
        files_of(str(tmp_path), "dev")


def test_a_broken_row_and_a_ragged_table_are_told(tmp_path: Path) -> None:
    (tmp_path / "broken.jsonl").write_text('{"a": 1}\n{"a":')
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    for name, why in (("broken.jsonl", "row 2: line 2 is not JSON"), ("ragged.csv", "row 2 has not as many cells")):
        with pytest.raises(DataError, match=why):
            load_examples(str(tmp_path / name), lambda row: (row, ""))


def test_a_split_is_named_by_a_file_or_a_folder_at_any_depth(tmp_path: Path) -> None:
    for name in ("test/b.jsonl", "deep/test-1/a.csv.gz", "deep/train.json", "latest.jsonl", "test.txt", "test.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [str(Path(file).relative_to(tmp_path)) for file in files_of(str(tmp_path), "test")]
    assert sorted(found) == ["deep/test-1/a.csv.gz", "test.parquet", "test/b.jsonl"]
    assert len(files_of(str(tmp_path))) == 5
    assert files_of(str(tmp_path / "test.txt")) == [str(tmp_path / "test.txt")]  # a file that is named is taken
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file of rows; herd reads .jsonl"):
        files_of(str(tmp_path / "empty"))
    assert all(ending.startswith(".") for ending in ROW_SUFFIXES)


def test_examples_are_called_by_file_and_line_and_the_first_are_taken(tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 2)):
        lines(tmp_path / f"{name}.jsonl", *({"answer": start + n} for n in range(2)))
    found = load_examples(str(tmp_path), held)
    assert [(one.id, one.row["answer"], one.target) for one in found] == [
        ("a.jsonl/1", 0, "0"),
        ("a.jsonl/2", 1, "1"),
        ("b.jsonl/1", 2, "2"),
        ("b.jsonl/2", 3, "3"),
    ]
    assert load_examples(str(tmp_path), held, limit=3) == found[:3]
    assert load_examples(str(tmp_path), held, split="b") == found[2:]
    # Rows that are not asked for are not looked at.
    lines(tmp_path / "c.jsonl", {"answer": 1}, {"other": 2})
    assert len(load_examples(str(tmp_path / "c.jsonl"), held, limit=1)) == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"other": 1, "more": 2}, "row 2 has no column 'answer'; it has other, more: name the right one"),
        ({"answer": None}, "row 2 has no column 'answer'"),
        ({"answer": ""}, "row 2 has no column 'answer'"),
        ("text", "row 2 is a str; write an object of columns"),
    ],
)
def test_a_row_that_cannot_be_used_stops_the_task(row: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        load_examples(lines(tmp_path / "a.jsonl", {"answer": 1}, row), held)


def test_what_is_no_text_is_read_as_one() -> None:
    assert [text_in({"a": value}, "a") for value in (0, 1.5, False, " ")] == ["0", "1.5", "False", " "]
    with pytest.raises(KeyError):
        text_in({"a": 1}, "b")


def test_examples_that_are_shown_are_not_asked() -> None:
    listed = [Example(str(n)) for n in range(3)]
    assert split_fewshot(listed, 0) == ([], listed)
    assert split_fewshot(listed, 2) == (listed[:2], listed[2:])
    for shots, count in ((3, 3), (0, 0)):
        with pytest.raises(DataError, match=f"{shots} of {count} examples are to be shown, which leaves none to ask"):
            split_fewshot(listed[:count], shots)
