"""The numbers of one step of each method."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.mixing import updates

THIRDS = np.full(3, 1 / 3)
GRAM = [[4, 1, -1], [1, 2, 0.5], [-1, 0.5, 3]]
some = st.lists(st.floats(0, 5), min_size=2, max_size=7)


@pytest.mark.row(23, "numbers")
def test_doremi_gives_the_worked_numbers() -> None:
    first = updates.doremi_update(THIRDS, (0.5, 0.1, 0.0))
    second = updates.doremi_update(first, (0.2, 0.3, 0.0))
    assert first == pytest.approx([0.43909728, 0.29444560, 0.26645712], abs=1e-6)
    assert second == pytest.approx([0.44672906, 0.33115489, 0.22211606], abs=1e-6)
    assert (first + second) / 2 == pytest.approx([0.44291317, 0.31280024, 0.24428659], abs=1e-6)


@pytest.mark.row(24, "numbers")
def test_doge_gives_the_worked_numbers_in_both_forms() -> None:
    paper, code = updates.doge_scores(GRAM, 5e-4), updates.doge_scores_as_coded(GRAM, 5e-4)
    assert paper == pytest.approx([0.0020, 0.00175, 0.00125], abs=1e-9)
    assert code == pytest.approx([0.0, 4.37210e-4, 0.0], abs=1e-8)
    assert updates.doge_update(THIRDS, paper) == pytest.approx([0.34446490, 0.33596003, 0.31957507], abs=1e-6)
    assert updates.doge_update(THIRDS, code) == pytest.approx([0.32844057, 0.34311886, 0.32844057], abs=1e-6)


@given(some, st.floats(0.01, 1), st.floats(0, 0.5))
def test_shares_sum_to_one_and_keep_their_floor(excess: list[float], eta: float, smoothing: float) -> None:
    start = np.full(len(excess), 1 / len(excess))
    found = updates.doremi_update(start, excess, eta=eta, smoothing=smoothing)
    assert found.sum() == pytest.approx(1)
    assert (found >= smoothing / len(excess) - 1e-12).all()
    order = np.argsort(excess, kind="stable")
    assert (np.diff(found[order]) >= -1e-9).all()


@given(some, st.integers(1, 10_000))
def test_a_bandit_explores_every_source_and_prefers_what_pays(rewards: list[float], step: int) -> None:
    found = updates.bandit_update(rewards, step)
    assert found.sum() == pytest.approx(1)
    assert (found >= updates.exploration(step, len(rewards)) - 1e-12).all()
    assert found[int(np.argmax(rewards))] == pytest.approx(found.max())


def test_exploration_fades_with_the_root_of_the_steps() -> None:
    assert updates.exploration(1, 4) == pytest.approx(1 / 4)
    assert updates.exploration(10_000, 4) == pytest.approx((np.log(4) / 40_000) ** 0.5)
    assert updates.exploration(5, 1) == 1.0


@pytest.mark.parametrize("shares", [[0.5, -0.1], [0.0, 0.0], [float("nan"), 1.0]])
def test_what_are_no_shares_is_refused(shares: list[float]) -> None:
    with pytest.raises(DataError, match="are no shares"):
        updates.normalize(shares)
