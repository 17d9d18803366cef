"""Rows 39, 40, 45, 47, 48, 49 and 61 on the world: studies' own runs, which make a base model first."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.studies.test_mixes import studied

Studied = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def on_tiny(tmp_path_factory: pytest.TempPathFactory) -> Studied:
    """Runs a study in a folder that has `tiny`'s base model already, and gives its figures."""
    made = tmp_path_factory.mktemp("tiny")
    command = [sys.executable, "-m", "herd", "run", "tiny", "--until", "anneal", "--out", str(made)]
    subprocess.run(command, check=True, capture_output=True)

    def run(name: str) -> dict[str, Any]:
        folder: Path = tmp_path_factory.mktemp("study") / name
        shutil.copytree(made, folder)
        return studied(name, folder)

    return run


@pytest.fixture(scope="module")
def found(on_tiny: Studied) -> dict[str, Any]:
    return on_tiny("alignment")["alignment"]


@pytest.mark.slow
@pytest.mark.row(40, "world")
def test_the_best_of_more_answers_is_right_more_often(found: dict[str, Any], figure: Callable[[str], None]) -> None:
    gold = {row["k"]: row["gold"][0] for row in found["judges"][1]["best_of"]}
    told = [gold[k] for k in (1, 4, 10, 30)]
    figure(
        f"right, best of 1, 4, 10, 30 by a reward model that reads critiques: {', '.join(f'{one:.3f}' for one in told)}"
    )
    assert told == sorted(told)
    assert told[-1] > told[0]


@pytest.mark.slow
@pytest.mark.row(61, "critiques")
@pytest.mark.row(61, "own")
def test_critiques_help_a_reward_model(found: dict[str, Any], figure: Callable[[str], None]) -> None:
    plain, own, peoples, few, own_few = (row["right"][0] for row in found["judges"])
    figure(f"ranked right: plain {plain:.3f}, by its own critiques {own:.3f}, trained on people's {peoples:.3f}")
    figure(f"ranked right, from at most 1,000 pairs: plain {few:.3f}, by its own critiques {own_few:.3f}")
    assert own_few >= few
    assert own >= plain
    assert own >= peoples


@pytest.mark.slow
@pytest.mark.row(39, "world")
def test_a_reward_model_of_the_world_ranks_nine_pairs_in_ten(
    found: dict[str, Any], figure: Callable[[str], None]
) -> None:
    (value, low, high) = found["judges"][1]["right"]
    figure(f"world, {found['seeds']} seeds: {value:.1%} [{low:.1%}, {high:.1%}] of held-out pairs, critiques read")
    assert value >= 0.9


@pytest.mark.slow
@pytest.mark.row(49)
def test_four_of_five_rounds_beat_the_one_before(on_tiny: Studied, figure: Callable[[str], None]) -> None:
    rows = on_tiny("rounds")["rounds"]
    rates = [row["win_rate"] for row in rows[1:]]
    told = ", ".join(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in rates)
    right = ", ".join(f"{row['right'][0]:.0%}" for row in rows)
    figure(f"right {right}; win rates {told}")
    assert len(rates) == 5
    assert sum(low > 0.5 for _, low, _ in rates) >= 4


@pytest.mark.slow
@pytest.mark.row(47, "wins")
@pytest.mark.row(47, "judge")
def test_a_model_that_teaches_itself_answers_and_judges_better(on_tiny: Studied, figure: Callable[[str], None]) -> None:
    found = on_tiny("self_rewarding")
    right, judged = [row["right"][0] for row in found["rounds"]], [row[0] for row in found["critics"]]
    tokens = [row["tokens"] for row in found["rounds"]]
    for name, values in (("right", right), ("pairs judged right", judged), ("tokens an answer", tokens)):
        figure(f"{name} {', '.join(f'{one:.3g}' for one in values)}")
    assert right[-1] > right[0]
    assert judged[-1] >= judged[0]


@pytest.mark.slow
@pytest.mark.row(48, "translation")
def test_cpo_translates_as_well_as_dpo(on_tiny: Studied, figure: Callable[[str], None]) -> None:
    found = on_tiny("translation")["alignment"]
    over = {row["way"]: row["over_first"] for row in found["ways"]}
    gained = {row["way"]: row["gain"] for row in found["ways"]}
    for name, (value, low, high) in gained.items():
        figure(f"translated right by {name}: {value:+.3f} [{low:+.3f}, {high:+.3f}] over SFT")
    assert over["cpo"][0] >= 0
    assert gained["cpo"][0] > 0


@pytest.mark.slow
@pytest.mark.row(45, "ablation")
def test_deduplication_at_equal_size_is_measured(on_tiny: Studied, figure: Callable[[str], None]) -> None:
    rows = on_tiny("dedup")["sets"]["rows"]
    for row in rows:
        (right, *_), (value, low, high) = row["right"]["mean"], row["gain"]["mean"]
        figure(
            f"{row['set']}, {row['dialogues']:,} dialogues: right {right:.3f}, {value:+.3f} [{low:+.3f}, {high:+.3f}]"
        )
    assert [row["set"] for row in rows] == ["all", "up to 0.95", "up to 0.9", "up to 0.8"]
    assert [row["dialogues"] for row in rows] == sorted((row["dialogues"] for row in rows), reverse=True)
    assert all(0 < row["right"]["mean"][0] < 1 for row in rows)


@pytest.mark.slow
@pytest.mark.row(46, "world")
def test_dpo_makes_answers_a_word_apart_less_likely_and_the_others_do_not(
    on_tiny: Studied, figure: Callable[[str], None]
) -> None:
    found = on_tiny("edits")["alignment"]
    chosen = {row["way"]: row["chosen"] for row in found["ways"]}
    for name, (value, low, high) in chosen.items():
        figure(f"{found['seeds']} seeds, chosen answers by {name}: {value:+.2f} [{low:+.2f}, {high:+.2f}] nats")
    assert chosen["dpo"][0] < 0
    assert chosen["dpo and likelihood"][0] > 0
    assert chosen["dpop"][0] > 0
