"""Records come back from disk as they were, in the ecosystem's columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core import storage
from herd.core.errors import ArtifactError, DataError
from herd.core.records import STRENGTHS, Conversation, Document, Message, Preference, ToolCall
from herd.core.storage import (
    document_parts,
    read_conversations,
    read_documents,
    read_lines,
    read_preferences,
    write_conversations,
    write_documents,
    write_preferences,
)

# What UTF-8 can hold: a lone surrogate is taken out while pages are extracted.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
DOCUMENTS = st.builds(
    Document, id=TEXT, text=TEXT, source=TEXT, url=TEXT, added=TEXT, language=TEXT, notes=st.dictionaries(TEXT, TEXT)
)
CALLS = st.builds(ToolCall, TEXT, st.dictionaries(TEXT, TEXT))
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    TEXT,
    st.tuples() | st.tuples(CALLS),
    st.booleans(),
)
CONVERSATIONS = st.builds(
    Conversation,
    st.lists(MESSAGES, min_size=1).map(tuple),
    TEXT,
    TEXT,
    st.lists(TEXT).map(tuple),
    metadata=st.dictionaries(TEXT, TEXT | st.lists(st.integers())),
)
ANSWERS = st.lists(MESSAGES, min_size=1, max_size=2).map(tuple)
PREFERENCES = st.builds(
    Preference,
    prompt=CONVERSATIONS,
    chosen=ANSWERS,
    rejected=ANSWERS,
    edited=st.just(()) | ANSWERS,
    strength=st.sampled_from(STRENGTHS),
)


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


def test_rows_have_the_columns_others_use() -> None:
    call = Message("assistant", "", (ToolCall("calculator", {"query": "1+1"}),))
    row = Preference(
        prompt=Conversation((Message("user", "hi"),)), chosen=(call,), rejected=(Message("assistant", "no"),)
    ).to_row()
    assert row["prompt"] == [{"role": "user", "content": "hi"}]
    assert row["rejected"] == [{"role": "assistant", "content": "no"}]
    function = {"name": "calculator", "arguments": {"query": "1+1"}}
    assert row["chosen"][0]["tool_calls"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("row", "words"),
    [({"role": "robot", "content": "x"}, "role 'robot'"), ({"role": "user", "content": [1]}, "reads text only")],
)
def test_messages_that_are_none_are_told(row: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Message.from_row(row)


def test_a_broken_line_is_told_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({}) + "\n{\n")
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: not JSON"):
        list(read_lines(file))


def test_a_folder_without_documents_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not a corpus made by herd"):
        list(read_documents(tmp_path))
