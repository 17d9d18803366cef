"""The page made of the table."""

from __future__ import annotations

from pathlib import Path

from herd import acceptance
from herd.acceptance.page import test_files as files_by_part

DOCS = Path(__file__).parents[2] / "docs" / "recipe.md"


def test_every_mark_names_a_part_of_the_table() -> None:
    parts = {(row.row, part) for row in acceptance.table() for part in row.parts}
    assert set(files_by_part()) <= parts


def test_the_page_is_up_to_date() -> None:
    assert DOCS.read_text(encoding="utf-8") == acceptance.markdown(), "run: herd acceptance --markdown > docs/recipe.md"
