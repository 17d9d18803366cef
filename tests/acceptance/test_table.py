"""The rows of the acceptance table."""

from __future__ import annotations

from herd import acceptance


def test_the_table_has_eighty_rows_in_order() -> None:
    assert [row.row for row in acceptance.table()] == list(range(1, 81))
    assert all(row.system and row.parts and all(row.parts.values()) for row in acceptance.table())
