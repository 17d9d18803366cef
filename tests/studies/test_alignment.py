"""Rows 39, 40, 47, 49 and 61 on the world: studies' own runs, which make a base model first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.studies.test_mixes import studied


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return studied("alignment", tmp_path_factory.mktemp("alignment"))["alignment"]


@pytest.mark.slow
@pytest.mark.row(40)
def test_the_best_of_more_answers_is_right_more_often(found: dict[str, Any], figure: Callable[[str], None]) -> None:
    gold = {row["k"]: row["gold"][0] for row in found["judges"][1]["best_of"]}
    told = [gold[k] for k in (1, 4, 10, 30)]
    figure(
        f"right, best of 1, 4, 10, 30 by a reward model that reads critiques: {', '.join(f'{one:.3f}' for one in told)}"
    )
    assert told == sorted(told)
    assert told[-1] > told[0]


@pytest.mark.slow
@pytest.mark.row(61)
def test_critiques_help_a_reward_model(found: dict[str, Any], figure: Callable[[str], None]) -> None:
    plain, own, peoples = (row["right"][0] for row in found["judges"])
    figure(f"ranked right: plain {plain:.3f}, by its own critiques {own:.3f}, trained on people's {peoples:.3f}")
    assert own >= plain
    assert own >= peoples


@pytest.mark.slow
@pytest.mark.row(39)
def test_a_reward_model_of_the_world_ranks_nine_pairs_in_ten(
    found: dict[str, Any], figure: Callable[[str], None]
) -> None:
    (value, low, high) = found["judges"][1]["right"]
    figure(f"world, {found['seeds']} seeds: {value:.1%} [{low:.1%}, {high:.1%}] of held-out pairs, critiques read")
    assert value >= 0.9


@pytest.mark.slow
@pytest.mark.row(49)
def test_four_of_five_rounds_beat_the_one_before(
    tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]
) -> None:
    rows = studied("rounds", tmp_path_factory.mktemp("rounds"))["rounds"]
    rates = [row["win_rate"] for row in rows[1:]]
    told = ", ".join(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in rates)
    right = ", ".join(f"{row['right'][0]:.0%}" for row in rows)
    figure(f"right {right}; win rates {told}")
    assert len(rates) == 5
    assert sum(low > 0.5 for _, low, _ in rates) >= 4


@pytest.mark.slow
@pytest.mark.row(47)
def test_a_model_that_teaches_itself_answers_and_judges_better(
    tmp_path_factory: pytest.TempPathFactory, figure: Callable[[str], None]
) -> None:
    found = studied("self_rewarding", tmp_path_factory.mktemp("self"))
    right, judged = [row["right"][0] for row in found["rounds"]], [row[0] for row in found["critics"]]
    tokens = [row["tokens"] for row in found["rounds"]]
    for name, values in (("right", right), ("pairs judged right", judged), ("tokens an answer", tokens)):
        figure(f"{name} {', '.join(f'{one:.3g}' for one in values)}")
    assert right[-1] > right[0]
    assert judged[-1] >= judged[0]
