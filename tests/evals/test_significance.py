"""Averages over groups, samples and votes; tests of two models; how many items it takes. Values are those of textbooks,
of scipy, and of enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, permutation_test

from herd.evals.significance import (
    items_needed,
    macro_mean,
    majority_at_k,
    majority_score,
    mcnemar_exact,
    paired_items_needed,
    paired_test,
    pass_at_k,
    sign_flip_test,
)


@pytest.mark.parametrize(
    # 59 and 6: the worked example of scipy's and statsmodels' exact tests on 2x2 tables, min(b, c) of b + c at 1/2.
    ("worse", "better"),
    [(0, 0), (5, 5), (6, 59), (121, 59), (1, 0), (3, 9), (700, 650)],
)
def test_mcnemar_is_the_exact_binomial_test(worse: int, better: int) -> None:
    wanted = binomtest(worse, worse + better).pvalue if worse + better else 1.0
    assert mcnemar_exact(worse, better) == pytest.approx(wanted, rel=1e-9)


def test_mcnemar_of_a_printed_table() -> None:
    # statsmodels' documentation of `mcnemar`: [[101, 121], [59, 33]] has p 4.43e-06 exactly.
    assert mcnemar_exact(121, 59) == pytest.approx(4.434e-06, rel=1e-3)


def test_sign_flips_are_exact_for_few_and_close_to_scipy_for_many() -> None:
    few = [0.5, 0.25, -0.125, 1.0, 0.0]
    sums = [
        abs(sum(sign * value for sign, value in zip(signs, few, strict=True)))
        for signs in itertools.product((1, -1), repeat=5)
    ]
    assert sign_flip_test(few) == pytest.approx(sum(total >= sum(few) - 1e-12 for total in sums) / 32)
    many = np.random.default_rng(1).normal(0.25, 1.0, 60)
    wanted = permutation_test((many,), np.sum, permutation_type="samples", n_resamples=20_000, rng=2).pvalue
    assert sign_flip_test(many) == pytest.approx(wanted, abs=0.02)
    assert sign_flip_test([0.0, 0.0]) == 1.0


def test_two_models_on_the_same_items() -> None:
    first, second = [1.0] * 40 + [0.0] * 60, [1.0] * 30 + [0.0] * 40 + [1.0] * 30
    found = paired_test(first, second)
    assert (found.worse, found.better, found.items, found.discordant_share) == (10, 30, 100, 0.4)
    assert found.p_value == pytest.approx(binomtest(10, 40).pvalue)
    assert found.difference.value == pytest.approx(0.2)
    assert found.difference.low > 0
    assert found.test.startswith("McNemar")
    assert paired_test([0.5, 1.0], [0.25, 1.0]).test == "sign flips"
    with pytest.raises(ValueError, match="no item"):
        paired_test([], [])


def test_a_null_difference_is_called_one_about_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    called = [
        paired_test(list((rng.random(60) < 0.5).astype(float)), list((rng.random(60) < 0.5).astype(float))).p_value
        < 0.05
        for _ in range(150)
    ]
    assert sum(called) / len(called) <= 0.09


def test_items_for_unpaired_models_are_those_of_the_textbook() -> None:
    # .5 against .6 takes 388 a group at power .8 without continuity correction (407 with it).
    assert items_needed(0.5, 0.1) == 388
    assert items_needed(0.6, -0.1) == 388
    z, p, q = norm.ppf(0.975), 0.3, 0.35
    mean = (p + q) / 2
    wanted = (
        z * math.sqrt(2 * mean * (1 - mean)) + norm.ppf(0.8) * math.sqrt(p * (1 - p) + q * (1 - q))
    ) ** 2 / 0.05**2
    assert items_needed(p, q - p) == math.ceil(wanted)
    with pytest.raises(ValueError, match="no number of items"):
        items_needed(0.95, 0.1)


def test_items_for_paired_models_are_connors() -> None:
    of_level, of_power = norm.ppf(0.975), norm.ppf(0.9)
    wanted = ((of_level * math.sqrt(0.4) + of_power * math.sqrt(0.4 - 0.2**2)) / 0.2) ** 2
    assert paired_items_needed(0.4, 0.2, power=0.9) == math.ceil(wanted) == 101
    assert paired_items_needed(0.1, 0.02) > paired_items_needed(0.1, 0.05) > paired_items_needed(0.05, 0.05)
    assert paired_items_needed(0.0, 0.05) == paired_items_needed(0.05, 0.05)
    for wrong in (0.0, 1.5):
        with pytest.raises(ValueError, match="no number of items"):
            paired_items_needed(0.4, wrong)


@pytest.mark.parametrize("paired", [True, False])
def test_so_many_items_have_the_power_they_are_for(paired: bool) -> None:
    rng = np.random.default_rng(3)
    share, difference, discordant = 0.5, 0.12, 0.3
    count = paired_items_needed(discordant, difference) if paired else items_needed(share, difference)
    seen, trials = 0, 400
    for _ in range(trials):
        if paired:
            better, worse, _ = rng.multinomial(
                count, [(discordant + difference) / 2, (discordant - difference) / 2, 1 - discordant]
            )
            seen += mcnemar_exact(int(worse), int(better)) < 0.05
        else:
            first, second = rng.binomial(count, share) / count, rng.binomial(count, share + difference) / count
            mean = (first + second) / 2
            seen += abs(second - first) / math.sqrt(2 * mean * (1 - mean) / count) > 1.96
    assert seen / trials == pytest.approx(0.8, abs=0.07)


def test_a_macro_average_weighs_groups_alike_and_its_interval_covers_the_truth() -> None:
    scores, groups = [1.0] * 10 + [0.0], ["large"] * 10 + ["small"]
    assert macro_mean(scores, groups).value == 0.5
    assert not macro_mean([1.0, 0.0], ["a", "b"]).is_bounded
    assert math.isnan(macro_mean([], []).value)
    with pytest.raises(ValueError, match="give a group"):
        macro_mean([1.0], [])
    rng = np.random.default_rng(0)
    shares, sizes = (0.2, 0.5, 0.9), (20, 60, 200)
    labels = np.repeat(range(3), sizes)
    hits = 0
    for number in range(100):
        drawn = (rng.random(280) < np.repeat(shares, sizes)).astype(float)
        found = macro_mean(list(drawn), list(labels), resamples=400, seed=number)
        hits += found.low <= np.mean(shares) <= found.high
    assert hits >= 88


def test_groups_are_resampled_within_themselves() -> None:
    # Within groups that are all right or all wrong nothing varies, though the groups differ.
    found = macro_mean([1.0] * 5 + [0.0] * 5, ["a"] * 5 + ["b"] * 5)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_pass_at_k_has_the_values_of_the_fact_sheet() -> None:
    samples = [[1.0] * 3 + [0.0] * 7]
    assert pass_at_k(samples, 1).value == pytest.approx(0.3)
    assert pass_at_k(samples, 5).value == pytest.approx(0.91666667)
    assert pass_at_k([[0.0, 1.0], [0.0, 0.0]], 2).value == 0.5


def test_votes_are_counted_and_ties_go_to_the_first() -> None:
    assert majority_score([("a", 0.0), ("b", 1.0), ("b", 1.0)]) == 1.0
    assert majority_score([("a", 0.0), ("b", 1.0)]) == 0.0
    assert majority_score([("", 0.0), ("", 0.0), ("b", 1.0)]) == 1.0
    assert majority_score([("", 0.0)]) == 0.0
    problems = [[("a", 1.0), ("a", 1.0), ("b", 0.0)], [("b", 0.0), ("a", 1.0), ("b", 0.0)]]
    assert majority_at_k(problems, 3).value == 0.5
    # With one vote it is the mean of all samples.
    assert majority_at_k(problems, 1, draws=2000).value == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="a vote of 4 among 3"):
        majority_at_k(problems, 4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_a_paired_test_is_the_same_turned_round(items: list[tuple[int, int]]) -> None:
    first, second = ([float(value) for value in column] for column in zip(*items, strict=True))
    there, back = paired_test(first, second), paired_test(second, first)
    assert there.p_value == back.p_value
    assert (there.worse, there.better) == (back.better, back.worse)
    assert there.difference.value == pytest.approx(-back.difference.value)


def test_a_macro_mean_of_small_groups_is_as_wide_as_it_should_be() -> None:
    rng = np.random.default_rng(3)
    groups = [group for group in range(57) for _ in range(3)]
    shares = np.linspace(0.3, 0.9, 57).repeat(3)
    draws = [macro_mean((rng.random(171) < shares).astype(float).tolist(), groups, resamples=400) for _ in range(200)]
    assert (
        sum(draw.low <= shares.mean() <= draw.high for draw in draws) >= 180
    )  # .87 of them with as many draws as items


def test_few_items_without_a_change_do_not_say_that_there_is_none() -> None:
    found = paired_test([1.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0])
    assert found.difference.value == 0
    assert found.difference.low < -0.1 < 0.1 < found.difference.high
