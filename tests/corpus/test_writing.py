"""The final files of a part: what is left, and all that was dropped, early or late, with reasons."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest

from herd.core.storage import document_from_row
from herd.corpus.shards import BatchWriter, DocumentShard
from herd.corpus.writing import REJECT_COLUMNS, WriteCounts, WriteTask, write_shard

TEXTS = ["über", "two", "three", "four"]


def last(folder: Path, gone: dict[int, tuple[str, str]], *, early: int = 0) -> WriteTask:
    """A part of four documents in two batches, of which steps drop some, and so many rejects of before."""
    (folder / "in").mkdir()
    for name in ("documents", "rejects", "stats"):
        (folder / name).mkdir()
    part, rejects = BatchWriter(folder / "in" / "part.arrow"), BatchWriter(folder / "in" / "rejects.arrow")
    for numbers in ((0, 1, 2), (3,)):
        columns = {
            "id": [f"d{n}" for n in numbers],
            "source": ["web" if n < 2 else "books" for n in numbers],
            "url": [f"u{n}" for n in numbers],
            "added": ["2024-03-01" for _ in numbers],
            "language": ["de" if n == 0 else "en" for n in numbers],
            "text": [TEXTS[n] for n in numbers],
            "title": ["Täglich" if n == 0 else "" for n in numbers],
            "notes": ['{"licence": "by"}' if n == 2 else "" for n in numbers],
            "stats": [{"words": float(n)} for n in numbers],
        }
        part.write(arrow.record_batch(columns))
    if early:
        columns = {name: [f"{name} {n}" for n in range(early)] for name in REJECT_COLUMNS}
        rejects.write(arrow.record_batch(columns | {"notes": [""] * early}))
    part.close()
    rejects.close()
    alive = np.packbits([n not in gone for n in range(4)]).tobytes()
    job = DocumentShard(3, folder / "in" / "part.arrow", 4, 8, alive, folder)
    lost = [(step, np.array([row]), [why]) for row, (step, why) in gone.items()]
    return WriteTask(job, lost, folder / "in" / "rejects.arrow", folder / "in" / "stats.arrow", folder)


def test_what_is_left_is_written_with_titles_in_the_notes(tmp_path: Path) -> None:
    counted = write_shard(last(tmp_path, {1: ("minhash", "like d0")}))
    rows = parquet.read_table(tmp_path / "documents" / "00003.parquet").to_pylist()
    documents = [document_from_row(row) for row in rows]
    assert [(one.id, one.text, one.source, one.url, one.added, one.language) for one in documents] == [
        ("d0", "über", "web", "u0", "2024-03-01", "de"),
        ("d2", "three", "books", "u2", "2024-03-01", "en"),
        ("d3", "four", "books", "u3", "2024-03-01", "en"),
    ]
    assert [one.notes for one in documents] == [{"title": "Täglich"}, {"licence": "by"}, {}]
    assert [row["stats"] for row in rows] == [{"words": 0.0}, {"words": 2.0}, {"words": 3.0}]
    assert (counted.documents, counted.characters, counted.rejects) == (3, 13, 1)
    assert counted.sources == {"web": [1, 4], "books": [2, 9]}
    assert counted.languages == Counter(en=2, de=1)


def test_rejects_of_before_stand_before_those_of_late_steps(tmp_path: Path) -> None:
    counted = write_shard(last(tmp_path, {3: ("minhash", "like d0"), 0: ("bloom", "seen")}, early=2))
    rows = parquet.read_table(tmp_path / "rejects" / "00003.parquet").to_pylist()
    assert [(row["id"], row["step"], row["reason"]) for row in rows] == [
        ("id 0", "step 0", "reason 0"),
        ("id 1", "step 1", "reason 1"),
        ("d0", "bloom", "seen"),
        ("d3", "minhash", "like d0"),
    ]
    assert document_from_row(rows[2]).notes == {"step": "bloom", "reason": "seen"}
    assert rows[2]["text"] == "über"
    assert counted.rejects == 4
    assert counted.dropped == Counter(minhash=1, bloom=1)  # the others were counted where they were dropped
    assert counted.examples["bloom"] == [{"id": "d0", "reason": "seen", "text": "über"}]


def test_what_holds_nothing_is_not_written(tmp_path: Path) -> None:
    counted = write_shard(last(tmp_path, dict.fromkeys(range(4), ("a", "b"))))
    assert not list((tmp_path / "documents").iterdir())
    assert not list((tmp_path / "stats").iterdir())
    assert (counted.documents, counted.rejects) == (0, 4)


def test_a_document_that_is_dropped_without_a_reason_stops_the_work(tmp_path: Path) -> None:
    made = last(tmp_path, {1: ("a", "b")})
    with pytest.raises(KeyError):
        write_shard(WriteTask(made.shard, [], made.rejects, made.stats, made.out))


def test_parts_are_added_up() -> None:
    one = WriteCounts(documents=1, rejects=2, characters=3, languages=Counter(en=1), sources={"a": [1, 3]})
    other = WriteCounts(Counter(x=1), {"x": []}, 2, 1, 4, Counter(en=1, de=1), {"a": [1, 1], "b": [1, 3]})
    one.add(other)
    one.add(other)
    assert (one.documents, one.rejects, one.characters) == (5, 4, 11)
    assert (one.languages, one.dropped) == (Counter(en=3, de=2), Counter(x=2))
    assert one.sources == {"a": [3, 5], "b": [2, 6]}
    assert other.sources == {"a": [1, 1], "b": [1, 3]}
