"""A ladder: what a budget buys for every size, to the FLOP, and curve by curve."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.core.settings import dump
from herd.model.sizes import SIZES, Size
from herd.scaling.budget import LadderSettings, by_budget, ladder_runs, models_per_budget

SMALL, LARGE = SIZES["tiny"], SIZES["10m"]
FOUR = (SMALL, replace(SMALL, dim=160), replace(SMALL, dim=192), LARGE)


def ladder(*budgets: float, sizes: tuple[Size, ...] = FOUR) -> LadderSettings:
    return LadderSettings(
        budgets=budgets, sizes=sizes, length=128, batch_tokens=512, lr=1e-3, mixture_weights={"a": 1.0}
    )


@given(st.floats(1e13, 1e18))
def test_a_model_is_trained_on_the_tokens_that_its_budget_buys(budget: float) -> None:
    rungs = ladder_runs(ladder(budget), vocabulary=1000)
    for rung, size in zip(rungs, FOUR, strict=True):
        each = size.shape(vocab_size=1000, max_seq_len=128).training_flops(128)
        assert (rung.size, rung.budget) == (size, budget)
        assert rung.tokens * each <= budget < (rung.tokens + 1) * each
    assert rungs[0].tokens > rungs[-1].tokens


def test_a_budget_of_less_than_ten_batches_is_refused_with_one_that_is_enough() -> None:
    with pytest.raises(SettingsError, match="fewer than ten batches of 512; try a budget of") as told:
        ladder_runs(ladder(1e9), vocabulary=1000)
    found = re.search(r"try a budget of (\S+),", str(told.value))
    assert found is not None
    # For the first size, so that larger ones may be too large.
    smaller = tuple(replace(SMALL, dim=dim) for dim in (32, 64, 96))
    rung = ladder_runs(ladder(float(found[1]), sizes=(SMALL, *smaller)), vocabulary=1000)[0]
    assert 10 * 512 <= rung.tokens < 11 * 512


def test_rungs_stand_curve_by_curve() -> None:
    found = ladder_runs(ladder(1e14, 1e13), vocabulary=1000)
    assert [(one.budget, one.size) for one in found] == [(budget, size) for budget in (1e14, 1e13) for size in FOUR]
    assert by_budget((1e14, 1e13), [one.tokens for one in found])[1] == [one.tokens for one in found[4:]]
    assert by_budget((1.0, 2.0, 3.0), [1, 2, 3, 4, 5, 6]) == [[1, 2], [3, 4], [5, 6]]


def test_each_size_may_have_its_rate_and_each_budget_its_batch() -> None:
    each = replace(ladder(1e14, 1e15), lr=(4e-3, 3e-3, 2e-3, 1e-3), batch_tokens=(512, 1024))
    found = ladder_runs(each, vocabulary=1000)
    assert [(run.lr, run.batch_tokens) for run in found] == [
        (lr, batch) for batch in (512, 1024) for lr in (4e-3, 3e-3, 2e-3, 1e-3)
    ]
    assert [(run.lr, run.batch_tokens) for run in ladder_runs(ladder(1e14), vocabulary=1000)] == [(1e-3, 512)] * 4
    with pytest.raises(SettingsError, match="3 values of lr for 4 sizes"):
        replace(each, lr=(1.0, 1.0, 1.0))
    with pytest.raises(SettingsError, match="1 values of batch_tokens for 2 budgets"):
        replace(each, batch_tokens=(512,))


def test_one_value_for_all_is_written_as_before() -> None:
    row = dump(ladder(1e14))
    assert (row["lr"], row["batch_tokens"]) == (1e-3, 512)


SIZE_LIST = tuple(replace(SMALL, dim=dim) for dim in (32, 64, 96, 128, 1024))


def test_sizes_that_a_budget_is_too_small_for_are_skipped_where_that_is_asked_for() -> None:
    wide = replace(ladder(3e10, 1e14, sizes=SIZE_LIST), skip_sizes=True)
    runs = ladder_runs(wide, vocabulary=1000)
    assert models_per_budget(runs) == (4, 5)
    assert [run.size.dim for run in runs if run.budget == 3e10] == [32, 64, 96, 128]
    assert all(run.tokens >= 10 * 512 for run in runs)
    curves = by_budget(wide.budgets, [run.size.dim for run in runs], models_per_budget(runs))
    assert [len(curve) for curve in curves] == [4, 5]
    with pytest.raises(SettingsError, match="skip_sizes: true"):
        ladder_runs(replace(wide, skip_sizes=False), vocabulary=1000)


@pytest.mark.parametrize("skip", [False, True])
def test_a_ladder_of_fewer_sizes_than_a_curve_wants_is_refused_before_it_is_trained(skip: bool) -> None:
    few = replace(ladder(1e14, sizes=FOUR[:3]), skip_sizes=skip)  # which may be made, and shrunk
    with pytest.raises(SettingsError, match="3 sizes, and a curve wants 4"):
        ladder_runs(few, vocabulary=1000)


def test_a_budget_that_leaves_too_few_sizes_for_a_curve_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"for [0-3] of 5 sizes, and a curve wants 4; add smaller sizes"):
        ladder_runs(replace(ladder(1e10, sizes=SIZE_LIST), skip_sizes=True), vocabulary=1000)
