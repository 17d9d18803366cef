"""Records come back from disk as they were, in the ecosystem's columns."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core import storage
from herd.core.errors import ArtifactError, DataError
from herd.core.records import Document
from herd.core.storage import (
    document_from_row,
    document_parts,
    read_conversations,
    read_documents,
    read_lines,
    read_preferences,
    write_conversations,
    write_documents,
    write_lines,
    write_preferences,
)
from tests.core.test_records import CONVERSATIONS, DOCUMENTS, PREFERENCES


@given(st.lists(DOCUMENTS, max_size=4), st.lists(CONVERSATIONS, max_size=3), st.lists(PREFERENCES, max_size=3))
def test_records_survive_the_disk(documents, conversations, preferences) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        assert write_documents(folder, documents) == len(documents)
        assert list(read_documents(folder)) == documents
        write_conversations(folder, conversations)
        assert list(read_conversations(folder)) == conversations
        write_preferences(folder, preferences)
        assert list(read_preferences(folder)) == preferences


@pytest.mark.parametrize("part_bytes", [1, 1500, 10**9])
def test_parts_of_a_corpus_are_the_corpus(part_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "ROWS_PER_FILE", 7)
    monkeypatch.setattr(storage, "_GROUP_ROWS", 2)
    monkeypatch.setattr(storage, "_BATCH_ROWS", 1)
    documents = [Document(id=str(n), text=f"{n} " * n, source="web") for n in range(17)]
    write_documents(tmp_path, documents)
    parts = document_parts(tmp_path, part_bytes=part_bytes)
    assert [document for part in parts for document in part.read()] == documents
    assert sum(part.documents for part in parts) == 17
    assert len(parts) == {1: 4 + 4 + 2, 10**9: 3}.get(part_bytes, len(parts))  # a row group each, or a file
    assert all(part.text_bytes <= part_bytes or len(part.groups) == 1 for part in parts)


def test_a_small_corpus_makes_parts_for_several_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_GROUP_ROWS", 1)
    documents = [Document(id=str(n), text="some words " * 100, source="web") for n in range(32)]
    write_documents(tmp_path, documents)
    assert len(document_parts(tmp_path)) == 1  # each costs more to begin than to read
    monkeypatch.setattr(storage, "_MIN_PART_BYTES", 1)
    assert len(document_parts(tmp_path)) >= 8
    assert list(read_documents(tmp_path)) == documents


def test_a_broken_line_is_told_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({}) + "\n{\n")
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: not JSON"):
        list(read_lines(file))


def test_a_folder_without_documents_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a corpus made by herd"):
        list(read_documents(tmp_path))


def test_a_corpus_of_nothing_is_one_file_and_rejects_may_be_none(tmp_path: Path) -> None:
    assert write_documents(tmp_path, []) == 0
    assert [file.name for file in (tmp_path / "documents").iterdir()] == ["00000.parquet"]
    assert list(read_documents(tmp_path)) == []
    with pytest.raises(ArtifactError, match="holds no Parquet files"):
        list(read_documents(tmp_path, "rejects"))
    (tmp_path / "rejects").mkdir()
    assert list(read_documents(tmp_path, "rejects")) == []


def test_a_row_without_notes_has_none() -> None:
    columns: dict[str, Any] = dict.fromkeys(("id", "text", "source", "url", "added", "language"), "x")
    assert document_from_row(columns).notes == document_from_row(columns | {"notes": ""}).notes == {}
    assert document_from_row(columns | {"notes": '{"kind": "ü"}'}).notes == {"kind": "ü"}


def test_lines_hold_letters_as_they_are_and_are_read_packed_too(tmp_path: Path) -> None:
    rows = [{"text": "Grüße\u2028\n"}, {}]
    assert write_lines(tmp_path / "a.jsonl", rows) == 2
    text = (tmp_path / "a.jsonl").read_text(encoding="utf-8")
    assert text == '{"text": "Grüße\u2028\\n"}\n{}\n'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert list(read_lines(tmp_path / "a.jsonl")) == list(read_lines(tmp_path / "a.jsonl.gz")) == rows
