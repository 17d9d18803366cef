"""The truth about a source's pages lies beside them and is read back as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.errors import DataError
from herd.core.records import Document
from herd.corpus.ground_truth import LABELS, LabelledDocument, read_labels, write_labels


def test_labels_are_read_back_in_their_order(tmp_path: Path) -> None:
    pages = [
        LabelledDocument(Document(id="<urn:ü>", text="a text", source="s"), "clean"),
        LabelledDocument(Document(id="b", text="a text!", source="s"), "near-duplicate", "<urn:ü>"),
        LabelledDocument(Document(id="c", text="buy", source="s"), "spam"),
    ]
    write_labels(tmp_path, iter(pages))
    assert read_labels(tmp_path) == [
        {"id": "<urn:ü>", "label": "clean", "of": ""},
        {"id": "b", "label": "near-duplicate", "of": "<urn:ü>"},
        {"id": "c", "label": "spam", "of": ""},
    ]
    assert "a text" not in (tmp_path / LABELS).read_text(encoding="utf-8")


def test_a_users_own_files_have_none_and_broken_ones_are_told(tmp_path: Path) -> None:
    assert read_labels(tmp_path) == []
    (tmp_path / LABELS).write_text('{"id": "a", "label": "clean", "of": ""}\n{"id":')
    with pytest.raises(DataError, match="line 2: not JSON"):
        read_labels(tmp_path)
