"""A ladder: what a budget buys for every size, to the FLOP, and curve by curve."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.model.sizes import SIZES, Size
from herd.scaling.budget import LadderSettings, by_budget, ladder_runs

SMALL, LARGE = SIZES["tiny"], SIZES["10m"]


def ladder(*budgets: float, sizes: tuple[Size, ...] = (SMALL, LARGE)) -> LadderSettings:
    return LadderSettings(
        budgets=budgets, sizes=sizes, length=128, batch_tokens=512, lr=1e-3, mixture_weights={"a": 1.0}
    )


@given(st.floats(1e13, 1e18))
def test_a_model_is_trained_on_the_tokens_that_its_budget_buys(budget: float) -> None:
    small, large = ladder_runs(ladder(budget), vocabulary=1000)
    for rung, size in ((small, SMALL), (large, LARGE)):
        each = size.shape(vocab_size=1000, max_seq_len=128).training_flops(128)
        assert (rung.size, rung.budget) == (size, budget)
        assert rung.tokens * each <= budget < (rung.tokens + 1) * each
    assert small.tokens > large.tokens


def test_a_budget_of_less_than_ten_batches_is_refused_with_one_that_is_enough() -> None:
    with pytest.raises(SettingsError, match="fewer than ten batches of 512; try a budget of") as told:
        ladder_runs(ladder(1e9), vocabulary=1000)
    found = re.search(r"try a budget of (\S+),", str(told.value))
    assert found is not None
    (rung,) = ladder_runs(ladder(float(found[1]), sizes=(SMALL,)), vocabulary=1000)
    assert 10 * 512 <= rung.tokens < 11 * 512


def test_rungs_stand_curve_by_curve() -> None:
    found = ladder_runs(ladder(1e14, 1e13), vocabulary=1000)
    assert [(one.budget, one.size) for one in found] == [(1e14, SMALL), (1e14, LARGE), (1e13, SMALL), (1e13, LARGE)]
    assert by_budget((1e14, 1e13), [one.tokens for one in found])[1] == [one.tokens for one in found[2:]]
    assert by_budget((1.0, 2.0, 3.0), [1, 2, 3, 4, 5, 6]) == [[1, 2], [3, 4], [5, 6]]
