"""What tests want of numpy, beside numpy itself."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.plain_numpy import with_plain_numpy

NUMBERS = st.floats(-1e6, 1e6) | st.integers(-1000, 1000) | st.sampled_from([float("inf"), float("nan"), True])


def stand_in() -> Any:
    """The module that tests get where there is no numpy."""
    source = re.sub(r"import numpy as _numpy", "raise ImportError", with_plain_numpy("import numpy"))
    try:
        exec(source, {})
        return sys.modules["numpy"]
    finally:
        sys.modules["numpy"] = numpy


def test_numbers_and_lists_are_compared_as_numpy_does() -> None:
    plain = stand_in()
    assert plain is not numpy

    @given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4), st.sampled_from([0.0, 1e-6, 1.0]))
    def agree(pairs: list[tuple[float, float]], atol: float) -> None:
        first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        expected = numpy.allclose(first, second, rtol=1e-07, atol=atol)
        assert plain.allclose(first, tuple(second), rtol=1e-07, atol=atol) == expected
        assert plain.allclose([first], [second], rtol=1e-07, atol=atol) == expected
        one = numpy.allclose(first, second[0], rtol=1e-07, atol=atol)
        assert plain.allclose(first, second[0], rtol=1e-07, atol=atol) == one

    agree()


def test_what_is_no_number_raises_and_tests_without_numpy_stay_as_they_are() -> None:
    plain = stand_in()
    for first, second in ((None, 1.0), ("1", 1.0), ([1.0, 2.0], [1.0, 2.0, 3.0])):
        with pytest.raises((TypeError, ValueError)):
            plain.allclose(first, second)
    assert not isinstance(1.0, (plain.ndarray, plain.float64))
    assert with_plain_numpy("assert numpy_like(1)") == "assert numpy_like(1)"
    assert with_plain_numpy("def check():\n    from numpy import inf").endswith("from numpy import inf")
