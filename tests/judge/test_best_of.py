"""What the best of K is worth, from one set of samples."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.best_of import best_of_curve, mean_of_best


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=7), st.data())
def test_the_best_of_k_is_the_mean_over_all_draws(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    scores, values = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    k = data.draw(st.integers(1, len(pairs)))
    drawn = []
    for some in itertools.combinations(range(len(pairs)), k):
        most = max(scores[n] for n in some)
        alike = [values[n] for n in some if scores[n] == most]
        drawn.append(sum(alike) / len(alike))
    assert mean_of_best(scores, values, k) == pytest.approx(sum(drawn) / len(drawn))


def test_a_curve_is_about_prompts_with_every_answer() -> None:
    rows = best_of_curve([[1.0, 2.0, 3.0], [5.0]], {"gold": [[0.0, 0.0, 1.0], [1.0]]}, 3)
    assert [row["k"] for row in rows] == [1, 2, 3]
    assert rows[0] == {"k": 1, "reward": 2.0, "gold": pytest.approx(1 / 3)}
    assert rows[-1] == {"k": 3, "reward": 3.0, "gold": 1.0}
    assert best_of_curve([[1.0]], {}, 3) == []


def test_the_best_of_one_is_the_mean_and_of_all_the_best() -> None:
    scores, values = [0.1, 0.9, 0.5], [3.0, 1.0, 2.0]
    assert mean_of_best(scores, values, 1) == pytest.approx(2.0)
    assert mean_of_best(scores, values, 3) == 1.0
    assert mean_of_best([1.0] * 3, values, 2) == pytest.approx(2.0)  # of equals any wins


@pytest.mark.parametrize("k", [0, -1, 4])
def test_more_than_there_are_or_none_cannot_be_drawn(k: int) -> None:
    with pytest.raises(ValueError, match=f"the best of {k} among 3 answers"):
        mean_of_best([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], k)


@given(st.lists(st.lists(st.floats(-5, 5), min_size=12, max_size=12), min_size=1, max_size=3))
def test_rewards_of_the_best_rise_with_k(scored: list[list[float]]) -> None:
    rows = best_of_curve(scored, {"own": scored}, 12)
    assert [row["k"] for row in rows] == [1, 2, 4, 10, 12]
    assert all(after["reward"] >= row["reward"] - 1e-9 for row, after in itertools.pairwise(rows))
    assert all(row["own"] == row["reward"] for row in rows)
    assert rows[-1]["reward"] == pytest.approx(sum(map(max, scored)) / len(scored))


def test_a_curve_ends_at_the_tries_there_were() -> None:
    assert [row["k"] for row in best_of_curve([[1.0]], {}, 1)] == [1]
    assert [row["k"] for row in best_of_curve([[1.0] * 4], {}, 4)] == [1, 2, 4]
    assert best_of_curve([], {}, 4) == []
