"""What the maker of a source knows about its pages, kept beside them: which are clean, copies or spam.

Curation never reads it; whoever checks curation does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from herd.core.records import Document
from herd.core.storage import read_lines, write_lines

Label = Literal["clean", "near-duplicate", "older capture", "spam"]
LABELS = "labels.jsonl"


@dataclass(frozen=True)
class LabelledDocument:
    """A document and what it truly is. copy_of: the id of the one it copies."""

    document: Document
    label: Label
    copy_of: str = ""


def write_labels(folder: Path, pages: Iterable[LabelledDocument]) -> None:
    write_lines(folder / LABELS, ({"id": page.document.id, "label": page.label, "of": page.copy_of} for page in pages))


def read_labels(folder: Path) -> list[dict[str, Any]]:
    """The truth about a crawl's pages; nothing for a user's own files."""
    file = folder / LABELS
    return list(read_lines(file)) if file.exists() else []
