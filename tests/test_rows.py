"""The acceptance table and the page made from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd import rows
from herd.core.errors import SettingsError

DOCS = Path(__file__).parent.parent / "docs" / "recipe.md"


def test_the_table_has_eighty_rows_in_order() -> None:
    assert [row.row for row in rows.table()] == list(range(1, 81))
    assert all(row.system and row.bar for row in rows.table())


def test_a_row_without_a_check_is_missing_and_one_with_a_check_tells_its_figure() -> None:
    found = rows.check([29, 16], slow=False)
    states = {one.row.row: one.state for one in found}
    assert states == {16: "missing", 29: "holds"}
    assert "1.8165" in next(one.figure for one in found if one.row.row == 29)
    with pytest.raises(SettingsError, match="rows 1 to 80"):
        rows.check([81], slow=False)


def test_a_failed_check_never_holds() -> None:
    row = rows.table()[0]
    test = {"test": "t", "outcome": "failed", "figure": "0.4"}
    assert rows._judge(row, [test, test | {"outcome": "passed"}]).state == "does not hold"
    assert rows._judge(row, [test | {"outcome": "skipped"}]).state == "slow"


def test_the_page_is_up_to_date() -> None:
    assert DOCS.read_text(encoding="utf-8") == rows.markdown(), "run: herd rows --markdown > docs/recipe.md"
