"""Thresholds of tasks and metrics: planted ones are found, and known answers are computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.scaling.emergence import TASK_METRICS, Threshold, rank_with_compute, task_metrics, threshold


@pytest.mark.row(31)
def test_a_planted_threshold_is_found_and_none_where_there_is_none(figure) -> None:
    off, found, false = [], 0, 0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        losses = np.sort(chance.uniform(1.6, 2.9, 40))
        planted_at = chance.uniform(2.0, 2.4)
        noise = chance.normal(0, 0.01, 40)
        one = threshold(losses, 0.25 + 0.5 * np.maximum(0, planted_at - losses) + noise, chance=0.25, seed=seed)
        off.append(abs(one.loss - planted_at))
        found += one.preferred
        assert one.low <= one.high
        smooth = threshold(losses, 0.25 + 0.3 * (2.9 - losses) + noise, chance=0.25, seed=seed, resamples=10)
        false += smooth.preferred
    figure(f"off by {max(off):.3f} nats at most in 20; preferred {found} of 20 times when planted, {false} when not")
    assert max(off) < 0.05
    assert found == 20
    assert false == 0
    with pytest.raises(DataError, match="7 models"):
        threshold(range(7), range(7), chance=0.0)


@pytest.mark.row(32)
def test_each_step_from_log_likelihood_to_accuracy_says_less_of_compute(figure) -> None:
    chance = np.random.default_rng(0)
    flops = np.geomspace(1e18, 1e22, 10)
    questions, choices = 300, 4
    right = chance.integers(0, choices, questions)
    # With compute all choices become likelier, the right one a little more, each question in its own way.
    grows = chance.normal(1.0, 0.3, (questions, choices))
    grows[np.arange(questions), right] += chance.normal(0.25, 0.4, questions)
    start = chance.normal(-12, 1.5, (questions, choices))
    found: dict[str, list[np.ndarray]] = {name: [] for name in TASK_METRICS}
    for step in np.log10(flops / flops[0]):
        log_p = start + grows * step + chance.normal(0, 0.35, (questions, choices))
        for name, values in task_metrics(log_p, right).items():
            found[name].append(values)
    ranks = rank_with_compute(flops, found)
    figure(", ".join(f"{name} {ranks[name]:.2f}" for name in TASK_METRICS))
    assert ranks["log_p"] > ranks["p_choices"] >= ranks["brier"] - 0.02
    assert ranks["brier"] > ranks["accuracy"]


def test_metrics_of_one_question() -> None:
    shares = np.array([[0.4, 0.2, 0.2, 0.2], [0.4, 0.6, 1e-9, 1e-9]])
    found = task_metrics(np.log(shares), [0, 0])
    assert found["accuracy"].tolist() == [1.0, 0.0]
    assert found["p_choices"] == pytest.approx([0.4, 0.4], abs=1e-6)
    assert found["brier"][0] == pytest.approx(-(0.36 + 3 * 0.04))
    uniform = task_metrics(np.zeros((1, 4)), [2])
    assert uniform["brier"][0] == pytest.approx(-0.75)
    with pytest.raises(DataError, match="2 models"):
        rank_with_compute([1, 2], {"a": [[1], [2]]})


def test_a_threshold_without_noise_is_found_with_its_gain_and_drawn_alike_for_a_seed() -> None:
    losses = np.linspace(1.5, 3.0, 31)
    performance = 0.25 + 0.6 * np.maximum(0, 2.2 - losses)
    found = threshold(losses, performance, chance=0.25, resamples=20)
    assert found.loss == pytest.approx(2.2, abs=5e-3)
    assert found.gain == pytest.approx(0.6, abs=0.01)
    assert found.preferred
    assert found.low <= found.loss <= found.high
    assert found == threshold(losses, performance, chance=0.25, resamples=20)
    assert not Threshold(2.0, 0.5, 0.0, 1.9, 2.1).preferred  # as good as without one is no reason for one
    # Never worse than chance: a task that gets worse as the loss falls has no gain.
    assert threshold(losses, 0.25 + 0.1 * losses, chance=0.25, resamples=1).gain >= 0


@given(st.lists(st.lists(st.floats(-20, 0), min_size=3, max_size=3), min_size=1, max_size=5), st.integers(0, 2))
def test_metrics_are_within_their_bounds_and_shifts_of_all_choices_change_log_p_alone(
    log_p: list[list[float]], right: int
) -> None:
    found = task_metrics(log_p, [right] * len(log_p))
    assert tuple(found) == TASK_METRICS
    assert ((found["p_choices"] >= 0) & (found["p_choices"] <= 1)).all()
    assert ((found["brier"] >= -2) & (found["brier"] <= 0)).all()
    shifted = task_metrics(np.asarray(log_p) - 3.0, [right] * len(log_p))
    assert shifted["log_p"] == pytest.approx(found["log_p"] - 3.0)
    assert shifted["p_choices"] == pytest.approx(found["p_choices"])


def test_rank_correlation_is_the_mean_over_questions_and_zero_where_all_agree() -> None:
    rises, falls, same = [1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [5.0, 5.0, 5.0]
    columns = np.array([rises, falls, same, rises]).T
    assert rank_with_compute([1e18, 1e19, 1e20], {"accuracy": columns})["accuracy"] == pytest.approx(1 / 4)
    assert rank_with_compute([1e20, 1e18, 1e19], {"log_p": np.array([rises]).T})["log_p"] == pytest.approx(-0.5)
