"""Agreement of two judges: its known values, and what it does not depend on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.agreement import weighted_kappa

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12)


def kappa(pairs: Sequence[tuple[float, float]], highest: int = 4) -> float:
    first, second = (np.array([pair[side] for pair in pairs], float) for side in (0, 1))
    return weighted_kappa(first, second, highest)


def test_agreement_has_its_known_values() -> None:
    a = np.array([0, 1, 2, 3, 4, 5.0])
    assert weighted_kappa(a, a, 5) == 1.0
    assert weighted_kappa(a, a[::-1].copy(), 5) == pytest.approx(-1.0)
    # With two points the weights are those of Cohen 1960: observed .7, by chance .5.
    two = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    assert kappa(two, 1) == pytest.approx((0.7 - 0.5) / (1 - 0.5))


@given(PAIRS)
def test_it_is_one_less_the_mean_distance_over_that_of_all_pairs(pairs: list[tuple[float, float]]) -> None:
    """Cohen 1968: squares of distances seen, over those of every first with every second."""
    seen = np.mean([(a - b) ** 2 for a, b in pairs])
    chance = np.mean([(a - b) ** 2 for a, _ in pairs for _, b in pairs])
    assert kappa(pairs) == pytest.approx(1 - seen / chance if chance else 1.0)


@given(PAIRS, st.integers(0, 3))
def test_it_depends_on_no_order_no_side_and_no_points_nobody_gave(pairs: list[tuple[float, float]], more: int) -> None:
    found = kappa(pairs)
    assert found <= 1 + 1e-12
    assert kappa(pairs[::-1]) == pytest.approx(found)
    assert kappa([(b, a) for a, b in pairs]) == pytest.approx(found)
    assert kappa(pairs, 4 + more) == pytest.approx(found)


def test_pairs_of_which_one_says_nothing_are_left_out() -> None:
    nan = float("nan")
    assert kappa([(1, 2), (nan, 0), (3, 3), (0, nan), (nan, nan)]) == kappa([(1, 2), (3, 3)])
    assert np.isnan(kappa([(nan, 1), (2, nan)]))
    assert np.isnan(kappa([]))
    assert kappa([(2, 2), (2, 2)]) == 1.0  # both always say the same
