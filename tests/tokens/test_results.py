"""What the room records is read back as it was written."""

from __future__ import annotations

from typing import Any

import pytest

from herd.tokens import results
from tests.results import is_read_back, kinds_in


@pytest.mark.parametrize("kind", kinds_in(results), ids=lambda kind: kind.__name__)
def test_a_result_is_read_back_as_it_was_recorded(kind: type[Any]) -> None:
    assert is_read_back(kind)
