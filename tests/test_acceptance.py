"""What the acceptance table's package gives."""

from __future__ import annotations

from herd import acceptance


def test_all_that_is_offered_is_there_and_the_table_is_whole() -> None:
    assert all(hasattr(acceptance, name) for name in acceptance.__all__)
    assert [row.row for row in acceptance.table()] == list(range(1, 81))
