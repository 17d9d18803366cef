"""What contamination adds to a score: the gain by threshold, its interval, and which threshold is reported."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.evals.contamination import ContaminationGain, contamination_gains, largest_significant_gain


@pytest.mark.row(79, "gain")
def test_a_gain_is_found_only_where_items_were_learnt(figure) -> None:
    chance = np.random.default_rng(0)
    covered = np.where(np.arange(400) < 200, chance.uniform(0.8, 1.0, 400), chance.uniform(0, 0.15, 400))
    learnt = np.where(covered > 0.5, chance.random(400) < 0.9, chance.random(400) < 0.4)
    not_learnt = chance.random(400) < 0.4
    best = largest_significant_gain(contamination_gains(learnt.astype(float), covered))
    assert best is not None
    assert best.gain == pytest.approx(0.25, abs=0.06)
    assert largest_significant_gain(contamination_gains(not_learnt.astype(float), covered)) is None
    figure(f"gain {best.gain:.3f} [{best.low:.3f}, {best.high:.3f}] where half the items were learnt, none else")


def test_a_gain_is_the_score_of_all_less_that_of_the_clean_ones() -> None:
    right, covered = [1, 1, 0, 1, 0, 0], [0.9, 0.5, 0.15, 0.1, 0.0, 0.05]
    found = {one.threshold: one for one in contamination_gains(right, covered)}
    assert list(found) == [0.1, 0.2, 0.4, 0.6, 0.8]
    assert (found[0.1].contaminated_share, found[0.1].score, found[0.1].clean_score) == (4 / 6, 0.5, 0.0)
    assert found[0.1].gain == pytest.approx(0.5)
    assert found[0.4].gain == pytest.approx(0.5 - 1 / 4)
    assert found[0.8].contaminated_share == pytest.approx(1 / 6)


def test_thresholds_with_nothing_on_one_side_say_nothing() -> None:
    assert [one.threshold for one in contamination_gains([1, 0, 1], [0.3, 0.3, 0.5])] == [0.4]
    assert contamination_gains([1, 0], [0.0, 0.0]) == []
    assert contamination_gains([1, 0], [1.0, 0.9]) == []


@settings(max_examples=10)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=30))
def test_a_gain_is_between_minus_one_and_one_and_the_same_again(items: list[tuple[float, float]]) -> None:
    right, covered = zip(*items, strict=True)
    found = contamination_gains(right, covered, thresholds=(0.5,))
    assert found == contamination_gains(list(right), np.array(covered), thresholds=(0.5,))
    for one in found:
        assert one.low <= one.high
        assert -1 <= one.gain <= 1
        dirty = np.mean([score for score, share in items if share >= 0.5])
        # The gain is what the contaminated ones are better by, times their share.
        assert one.gain == pytest.approx(one.contaminated_share * (dirty - one.clean_score), abs=1e-9)


def test_the_largest_gain_that_is_no_chance_is_reported() -> None:
    def gain(threshold: float, value: float, low: float) -> ContaminationGain:
        return ContaminationGain(threshold, 0.5, 0.5, 0.5 - value, value, low, value + 0.1)

    listed = [gain(0.1, 0.1, 0.05), gain(0.2, 0.2, 0.01), gain(0.4, 0.9, -0.1), gain(0.6, 0.3, 0.0)]
    best = largest_significant_gain(listed)
    assert best is not None
    assert best.threshold == 0.2
    assert largest_significant_gain(listed[2:]) is None
    assert largest_significant_gain([]) is None
