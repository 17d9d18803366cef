"""Documents between steps: numbers stay, files are whole or absent, rows are dropped and texts changed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.records import Document
from herd.corpus.shards import (
    BatchWriter,
    DocumentShard,
    Removal,
    RewrittenShard,
    RowNumbers,
    alive_texts,
    read_table,
    rewrite_shard,
)
from tests.corpus.builders import document_shards


def documents(count: int) -> list[Document]:
    return [Document(id=f"d{n}", text=f"text {n}", source="s") for n in range(count)]


def left(job: DocumentShard) -> list[tuple[int, str]]:
    return [pair for rows, texts in alive_texts(job) for pair in zip(rows.tolist(), texts.to_pylist(), strict=True)]


def shouted(job: DocumentShard) -> tuple[RewrittenShard, int]:
    """Every third text becomes empty, the others are written in capitals."""

    def change(rows: RowNumbers, texts: arrow.Array) -> arrow.Array:
        pairs = zip(rows.tolist(), texts.to_pylist(), strict=True)
        return arrow.array(["" if row % 3 == 0 else text.upper() for row, text in pairs], arrow.large_string())

    return rewrite_shard(job, change), job.rows


@given(st.integers(1, 9), st.integers(1, 3), st.sets(st.integers(0, 8)))
def test_documents_keep_their_numbers_and_only_those_left_are_seen_and_changed(
    count: int, files: int, gone: set[int]
) -> None:
    gone = {row for row in gone if row < count}
    with tempfile.TemporaryDirectory() as name:
        held = document_shards(Path(name), documents(count), files=files)
        held.drop("a", Removal(np.array(sorted(gone), np.int64), "why"))
        stays = [row for row in range(count) if row not in gone]
        assert held.total == count
        found = held.map(left, "look")
        assert [pair for part in found for pair in part] == [(row, f"text {row}") for row in stays]
        empty, rows = held.rewrite(shouted, "shout")
        assert empty.tolist() == [row for row in stays if row % 3 == 0]
        assert sum(rows) == count
        texts = {row: "" if row % 3 == 0 else f"TEXT {row}" for row in stays}
        assert [pair for part in held.map(left, "again") for pair in part] == list(texts.items())
        # What was dropped is still there, as it was.
        every = held.values("text", np.arange(count))
        assert every == {row: texts.get(row, f"text {row}") for row in range(count)}


def test_values_are_read_by_number_whatever_their_order(tmp_path: Path) -> None:
    held = document_shards(tmp_path, documents(7), files=3)
    assert held.values("id", np.array([6, 0, 6, 3])) == {0: "d0", 3: "d3", 6: "d6"}
    assert held.values("id", np.empty(0, np.int64)) == {}


def test_drops_are_kept_in_their_order_with_their_reasons(tmp_path: Path) -> None:
    held = document_shards(tmp_path, documents(4))
    for step, row in (("b", 2), ("a", 0)):
        held.drop(step, Removal(np.array([row]), f"by {step}"))
    assert [(step, dropped.reason) for step, dropped in held.removals] == [("b", "by b"), ("a", "by a")]
    assert held.alive.tolist() == [False, True, False, True]
    first, second = held.snapshot(tmp_path / "work")
    assert (first.mask().tolist(), second.mask().tolist()) == ([False, True], [False, True])
    assert (first.first_row, second.first_row, first.name, second.name) == (0, 2, "00000", "00001")


def test_batches_of_a_part_tell_their_place_and_hold_the_columns_asked_for(tmp_path: Path) -> None:
    writer = BatchWriter(tmp_path / "a.arrow")
    for text in (["a", "b"], ["c"]):
        writer.write(arrow.record_batch({"text": arrow.array(text), "id": arrow.array(text)}))
    assert writer.close()
    job = DocumentShard(0, tmp_path / "a.arrow", 3, 0, b"\xe0", tmp_path)
    assert [(start, batch.to_pydict()) for start, batch in job.batches("text")] == [
        (0, {"text": ["a", "b"]}),
        (2, {"text": ["c"]}),
    ]
    assert [batch.schema.names for _, batch in job.batches()] == [["text", "id"]] * 2


def test_a_file_is_there_in_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.arrow"
    writer = BatchWriter(file)
    assert not writer.close()
    assert not file.exists()
    assert list(read_table(file)) == []
    writer.write(arrow.record_batch({"text": arrow.array(["x", "y"])}))
    assert (file.exists(), writer.rows) == (False, 2)
    assert writer.close()
    assert [batch.num_rows for batch in read_table(file)] == [2]
    assert [found.name for found in tmp_path.iterdir()] == ["a.arrow"]


def test_a_part_of_which_all_is_dropped_is_written_on_unchanged(tmp_path: Path) -> None:
    held = document_shards(tmp_path, documents(4), files=2)
    held.drop("a", Removal(np.array([0, 1]), "why"))
    empty, _ = held.rewrite(shouted, "shout")
    assert empty.tolist() == [3]
    assert held.values("text", np.arange(4)) == {0: "text 0", 1: "text 1", 2: "TEXT 2", 3: ""}
    with pytest.raises(KeyError):
        held.values("no such column", np.array([0]))
