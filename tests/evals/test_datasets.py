"""Rows of benchmarks from every kind of folder people have, and what is said of those that are not right."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
import pytest

from herd.core.errors import DataError
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm, benchmark_rows, find_data, has_split


def _row(row: DatasetRow, file: str) -> DatasetRow:
    return {"question": row["question"], "answer": int(row["answer"]), "file": file}


def _sections(row: DatasetRow, file: str) -> list[DatasetRow]:
    return [{"question": text, "answer": 0} for text in row["sections"]]


DATA = BenchmarkData(
    "someone/sums",
    (RowForm(("question", "answer"), _row, ("question", "answer")), RowForm(("sections",), _sections)),
    config="hard",
    names=("sums",),
    sizes={"test": 2, "train": 3},
    passed_over=("socratic",),
)
ROWS = [{"question": f"{n} + 1", "answer": n + 1} for n in range(3)]


def lines(file: Path, rows: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(map(json.dumps, rows))
    if file.suffix == ".gz":
        with gzip.open(file, "wt") as out:
            out.write(text)
    else:
        file.write_text(text)
    return file


def columns(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    if file.suffix == ".parquet":
        parquet.write_table(table, file)
    else:
        with pyarrow.ipc.new_stream(str(file), table.schema) as out:
            out.write_table(table)
    return file


def asked(place: Path, split: str = "test", source: BenchmarkData = DATA) -> list[str]:
    return [row["question"] for row in benchmark_rows(str(place), split, source).rows]


def hub_folder(root: Path) -> None:
    columns(root / "hard" / "test-00000-of-00001.parquet", ROWS[:2])
    columns(root / "hard" / "train-00000-of-00001.parquet", ROWS[2:])
    columns(root / "easy" / "test-00000-of-00001.parquet", ROWS[2:])
    (root / "README.md").write_text("a card")
    (root / "dataset_infos.json").write_text("{}")


def cache(root: Path) -> None:
    place = root / "someone___sums" / "hard" / "0.0.0" / "ab12"
    columns(place / "sums-test.arrow", ROWS[:2])
    columns(place / "sums-train.arrow", ROWS[2:])
    columns(place / "cache-99.arrow", ROWS)
    (place / "dataset_info.json").write_text("{}")


def saved(root: Path) -> None:
    columns(root / "test" / "data-00000-of-00001.arrow", ROWS[:2])
    columns(root / "train" / "data-00000-of-00001.arrow", ROWS[2:])
    (root / "test" / "state.json").write_text("{}")


def release(root: Path) -> None:
    lines(root / "test.jsonl.gz", ROWS[:2])
    lines(root / "train.jsonl", ROWS[2:])
    lines(root / "test_socratic.jsonl", ROWS)
    (root / "test.csv").write_text("question,answer\nthe same again,7\n")


def one_file(root: Path) -> None:
    lines(root / "sums.jsonl", ROWS[:2])


@pytest.mark.parametrize("write", [hub_folder, cache, saved, release, one_file])
def test_the_same_rows_are_found_in_every_kind_of_folder(write: Any, tmp_path: Path) -> None:
    write(tmp_path)
    assert asked(tmp_path) == ["0 + 1", "1 + 1"]
    found = benchmark_rows(str(tmp_path), "test", DATA)
    assert len({row["id"] for row in found.rows}) == 2
    assert found.notes == ()
    assert has_split(str(tmp_path), "train", DATA) == (write is not one_file)


def test_a_table_without_a_header_is_read_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "sums_test.csv").write_text('"what, exactly?",3\n1 + 1,2\n')
    assert asked(tmp_path) == ["what, exactly?", "1 + 1"]
    with (tmp_path / "sums_test.csv").open("w", newline="") as out:
        table = csv.DictWriter(out, ["question", "answer"])
        table.writeheader()
        table.writerows(ROWS)
    assert len(asked(tmp_path)) == 3


def test_labels_of_a_file_beside_the_rows(tmp_path: Path) -> None:
    source = BenchmarkData(
        "a/b", (RowForm(("goal",), lambda row, file: {"question": row["goal"], "gold": row["label"]}),)
    )
    lines(tmp_path / "dev.jsonl", [{"goal": "x"}, {"goal": "y"}])
    (tmp_path / "dev-labels.lst").write_text("1\n0\n")
    found = benchmark_rows(str(tmp_path), "validation", source)
    assert [row["gold"] for row in found.rows] == ["1", "0"]
    (tmp_path / "dev-labels.lst").write_text("1\n")
    with pytest.raises(DataError, match="row 2 has no label"):
        benchmark_rows(str(tmp_path), "validation", source)


def test_a_part_of_a_release_is_said_with_what_there_should_be(tmp_path: Path) -> None:
    lines(tmp_path / "test.jsonl", ROWS[:1])
    lines(tmp_path / "train.jsonl", [*ROWS, *ROWS])
    assert benchmark_rows(str(tmp_path), "test", DATA).notes == ("1 of the 2 examples of split test",)
    assert benchmark_rows(str(tmp_path), "train", DATA).notes == ("6 examples, where split train has 3",)


def test_one_row_may_hold_several_and_no_id_comes_twice(tmp_path: Path) -> None:
    lines(tmp_path / "test.json", [{"sections": ["a", "b"]}])
    rows = benchmark_rows(str(tmp_path), "test", DATA).rows
    assert [row["question"] for row in rows] == ["a", "b"]
    twins = BenchmarkData("a/b", (RowForm(("question",), lambda row, file: {"id": "x", "question": row["question"]}),))
    lines(tmp_path / "test.json", ROWS)
    assert [row["id"] for row in benchmark_rows(str(tmp_path), "test", twins).rows] == ["x", "x#2", "x#3"]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (
            [{"query": "?", "label": 1}],
            r"has the columns query, label; herd reads rows of someone/sums with question, answer",
        ),
        ([{"question": "?", "answer": "three"}], "row 1 cannot be used"),
        (["?"], "row 1 is a str; write an object"),
    ],
)
def test_rows_of_another_form_are_told_in_a_sentence(rows: list[Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=why):
        asked(lines(tmp_path / "test.jsonl", rows))


def test_a_row_that_is_broken_a_split_that_is_not_there_and_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"question": \n')
    with pytest.raises(DataError, match=r"train.jsonl, row 1: line 1 is not JSON"):
        asked(tmp_path, "train")
    with pytest.raises(DataError, match=r"has no split 'test' \(it has train\)"):
        asked(tmp_path)
    (tmp_path / "test.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no rows of split 'test'"):
        asked(tmp_path)


def test_a_benchmark_is_found_in_a_folder_of_many(tmp_path: Path) -> None:
    assert find_data(str(tmp_path), DATA) is None
    cache(tmp_path)
    assert find_data(str(tmp_path), DATA) == str(tmp_path / "someone___sums")
    nested = lines(tmp_path / "gauntlet" / "sums.jsonl.gz", ROWS)
    (tmp_path / "someone___sums").rename(tmp_path / "elsewhere")
    assert find_data(str(tmp_path), DATA) == str(nested)


def test_without_data_the_hub_is_asked_and_told_of_when_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def load(hub: str, config: str | None, *, split: str) -> list[dict[str, Any]]:
        calls.append((hub, config, split))
        return ROWS[:2]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))  # type: ignore[arg-type]
    found = benchmark_rows(None, "test", DATA)
    assert [row["question"] for row in found.rows] == ["0 + 1", "1 + 1"]
    assert calls == [("someone/sums", "hard", "test")]
    parts = BenchmarkData("someone/sums-{config}", DATA.forms, configs=("a", "b"))
    assert [row["file"] for row in benchmark_rows(None, "test", parts).rows] == ["a/test", "a/test", "b/test", "b/test"]
    assert calls[1:] == [("someone/sums-a", None, "test"), ("someone/sums-b", None, "test")]
    assert has_split(None, "train", DATA)
    assert not has_split(None, "dev", DATA)

    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route\nto the host")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=unreachable))  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match=r"someone/sums cannot be fetched \(ConnectionError: no route\); fetch it where"
    ):
        benchmark_rows(None, "test", DATA)
    monkeypatch.setitem(sys.modules, "datasets", None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"takes the package datasets; `pip install 'herd\[benchmarks\]'`"):
        benchmark_rows(None, "test", DATA)
