"""Intervals: printed examples of the report, textbook values, and coverage."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.evals import intervals
from herd.evals.intervals import (
    Interval,
    bootstrap_mean,
    paired_gain,
    paired_share_gain,
    percentiles,
    ratio_mean,
    unpaired_gain,
    wald,
    wilson,
)


@pytest.mark.row(78, "intervals")
@pytest.mark.parametrize(
    ("share", "count", "wanted"),
    # Source: Llama 3, tables of section 5: half widths follow from the sizes of the benchmarks.
    [(0.89, 164, 0.048), (0.968, 1319, 0.0095), (0.81, 21, 0.168)],
)
def test_half_widths(share: float, count: int, wanted: float, figure) -> None:
    figure(f"{share:.1%} of {count}: ±{wald(share, count):.2%}")
    assert wald(share, count) == pytest.approx(wanted, abs=5e-4)


@pytest.mark.row(78, "wilson")
@pytest.mark.parametrize(
    ("right", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_equals_published_values(right: int, count: int, low: float, high: float) -> None:
    # The last is the worked example of Newcombe 1998, method 3.
    found = wilson(right, count)
    assert (found.low, found.high) == (pytest.approx(low, abs=2e-4), pytest.approx(high, abs=2e-4))


@given(st.integers(0, 400), st.integers(1, 400))
def test_wilson_holds_its_value_and_stays_in_range(right: int, count: int) -> None:
    found = wilson(min(right, count), count)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 2e-12


def test_nothing_asked_says_nothing() -> None:
    found = wilson(0, 0)
    assert math.isnan(found.value)
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_bootstrap_covers_the_truth_as_often_as_it_says() -> None:
    chance = random.Random(0)
    hits = 0
    for trial in range(200):
        found = bootstrap_mean([chance.random() < 0.3 for _ in range(120)], resamples=400, seed=trial)
        hits += found.low <= 0.3 <= found.high
    assert 180 <= hits <= 199


def test_a_gain_is_paired_by_question() -> None:
    before = [True] * 50 + [False] * 50
    after = [True] * 80 + [False] * 20
    gain = paired_gain(before, after)
    assert gain.value == pytest.approx(0.3)
    assert 0.2 < gain.low < 0.3 < gain.high < 0.4
    with pytest.raises(ValueError, match="not the same questions"):
        paired_gain([True], [True, False])


def test_an_unpaired_gain_equals_a_published_one() -> None:
    # Newcombe 1998, table II, method 10: 56 of 70 against 48 of 80.
    gain = unpaired_gain(wilson(48, 80), wilson(56, 70))
    assert gain == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_a_paired_gain_of_shares_stays_in_range_and_turns_with_its_sides(pairs: list[tuple[bool, bool]]) -> None:
    before, after = [float(was) for was, _ in pairs], [float(now) for _, now in pairs]
    gain, back = paired_share_gain(before, after), paired_share_gain(after, before)
    assert -1 <= gain.low <= gain.value <= gain.high <= 1
    assert gain.value == pytest.approx(sum(after) / len(after) - sum(before) / len(before), abs=1e-12)
    assert (back.low, back.high) == (pytest.approx(-gain.high, abs=1e-12), pytest.approx(-gain.low, abs=1e-12))


def test_a_paired_gain_of_shares_is_the_unpaired_one_where_outcomes_are_not_alike() -> None:
    before, after = [1.0, 1.0, 0.0, 0.0] * 5, [1.0, 0.0, 1.0, 0.0] * 5
    assert paired_share_gain(before, after) == pytest.approx(unpaired_gain(wilson(10, 20), wilson(10, 20)))
    same = paired_share_gain(before, before)
    assert same == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    few = paired_share_gain([1.0, 1.0], [1.0, 1.0])
    assert -0.7 < few.low < 0 < few.high < 0.7  # two that stayed right say little
    # Newcombe 1998 (Statistics in Medicine 17, 2635): one pair that turned has both of Wilson's intervals.
    assert paired_gain([0.0], [1.0]) == pytest.approx(unpaired_gain(wilson(0, 1), wilson(1, 1)))


def test_one_example_has_no_interval_and_says_so() -> None:
    alone = ratio_mean([3.0], [2])
    assert not alone.is_bounded
    assert str(alone) == "1.500 (one example, no interval)"
    assert alone.words("+.1f", "text") == "+1.5 (one text, no interval)"
    assert alone.within(0.0) == alone
    assert Interval(0.5, 0.25, 0.75).words(".0%") == "50% [25%, 75%]"


def test_bounds_stay_where_a_value_can_be() -> None:
    few = ratio_mean([1.0, 3.0], [1, 1])
    assert few.low < 0
    assert ratio_mean([1.0, 3.0], [1, 1], least=0.0) == few._replace(low=0.0)
    assert Interval(0.0, -6.4, 6.4).within(-1, 1) == (0.0, -1.0, 1.0)
    assert Interval(-0.2, -0.3, -0.1).within(0.0) == (-0.2, -0.2, -0.1)  # a value below what was said is not hidden


@pytest.mark.parametrize("size", [1, 2, 7, 601, 1999])
def test_a_bootstrap_in_blocks_is_that_of_all_draws_at_once(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = np.random.default_rng(size).random(size)
    draws = np.random.default_rng(0).integers(0, size, (150, size))
    at_once = percentiles(sample[draws].mean(axis=1))
    for block in (1, 777, 1 << 20):
        monkeypatch.setattr(intervals, "_DRAWS_AT_ONCE", block)
        assert bootstrap_mean(sample, resamples=150) == (sample.mean(), *at_once)
