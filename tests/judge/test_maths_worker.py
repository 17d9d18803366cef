"""The functions that the pool for maths calls."""

from __future__ import annotations

from herd.judge.maths_worker import FUNCTIONS, equivalent, verify_answer
from tests.judge.needs import needs_maths


@needs_maths
def test_answers_are_compared() -> None:
    assert verify_answer("It is $\\frac{1}{2}$", "$0.5$") == [True, "\\frac{1}{2}", "\\frac{1}{2}"]
    assert verify_answer("Nothing", "$5$")[0] is False
    assert equivalent("\\frac{1}{2}", "0.5")
    assert not equivalent("x", "y")
    assert not equivalent("(((", "y")
    assert FUNCTIONS.keys() == {"verify_answer", "equivalent"}
