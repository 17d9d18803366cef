"""How much of what was hidden an answer repeats."""

from __future__ import annotations

import pytest

from herd.judge.recall import grade_strings, plain_lines


def test_all_and_part() -> None:
    verdict = grade_strings("It is ALPHA\x07and beta", ["alpha", "Beta", "gamma", "delta"])
    assert verdict.score == verdict.parts["recall"] == 0.5
    assert verdict.reason == "it lacks ['gamma', 'delta']"
    assert grade_strings("alpha", ["alpha", "gamma"], match="part").score == 1
    assert grade_strings("", ["alpha"], match="part").score == 0
    assert plain_lines(" a\x00b \n") == "a\nb"
    with pytest.raises(ValueError, match="no references"):
        grade_strings("a", [])
