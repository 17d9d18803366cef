"""Texts of corpora in the forms that people have."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from herd.core.errors import DataError
from herd.evals.corpora import iter_texts


def test_rows_and_texts_of_a_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": ["one", ""], "id": ["a", "b"]}), tmp_path / "in" / "a.parquet")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write(json.dumps({"text": "two"}) + "\n{broken\n")
    (tmp_path / "c.txt").write_text("three")
    (tmp_path / "in" / "artifact.json").write_text("{}")
    assert list(iter_texts(tmp_path / "in")) == ["one"]
    (tmp_path / "in" / "artifact.json").unlink()
    assert sorted(iter_texts(tmp_path)) == ["one", "three", "two"]
    assert list(iter_texts(tmp_path / "b.jsonl.gz")) == ["two"]
    assert list(iter_texts(tmp_path / "c.txt")) == ["three"]
    assert list(iter_texts(tmp_path / "in", "id")) == ["a", "b"]
    with pytest.raises(DataError, match="no column 'body'; it has text, id: name it with --column"):
        list(iter_texts(tmp_path / "in", "body"))


def test_long_texts_come_in_blocks_that_overlap(tmp_path: Path) -> None:
    words = " ".join(f"w{number}" for number in range(300_000))
    (tmp_path / "long.txt").write_text(words)
    blocks = list(iter_texts(tmp_path / "long.txt"))
    assert len(blocks) > 1
    assert blocks[1][:2000] == blocks[0][-2000:]
    assert words.endswith(blocks[-1][-50:])


def test_no_corpus_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no corpus"):
        list(iter_texts(tmp_path))
