"""Rows 39, 40, 45, 47, 48, 49 and 61 on the world: studies' own runs, which make a base model first."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.studies.test_mixes import seeds_of, studied

Studied = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module")
def on_tiny(tmp_path_factory: pytest.TempPathFactory) -> Studied:
    """Runs a study in a folder that has `tiny`'s base model already, and gives its results."""
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
    return on_tiny("alignment")["AlignmentComparison"]


@pytest.fixture(scope="module")
def taught(on_tiny: Studied) -> dict[str, Any]:
    return on_tiny("self_rewarding")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("judge", "name"),
    [
        pytest.param(0, "the plain reward model", marks=pytest.mark.row(40, "plain")),
        pytest.param(1, "one that reads critiques", marks=pytest.mark.row(40, "world")),
    ],
)
def test_the_best_of_more_answers_is_right_more_often(
    found: dict[str, Any], figure: Callable[..., None], judge: int, name: str
) -> None:
    gold = {row["k"]: row["values"]["gold"][0] for row in found["judges"][judge]["best_of"]}
    told = [gold[k] for k in (1, 4, 10, 30)]
    figure(
        f"world, right of the best of 1, 4, 10, 30 by {name}: {', '.join(f'{one:.3f}' for one in told)}",
        seeds=seeds_of("alignment"),
    )
    assert all(fewer < more for fewer, more in pairwise(told))


@pytest.mark.slow
@pytest.mark.row(61, "critiques")
def test_critiques_help_a_reward_model_from_few_pairs(found: dict[str, Any], figure: Callable[..., None]) -> None:
    plain, own, _, few, own_few = (row["right"][0] for row in found["judges"])
    figure(f"ranked right, critic and judge from at most 1,000 pairs: plain {few:.3f}, after critiques {own_few:.3f}")
    figure(f"from all pairs: plain {plain:.3f}, after critiques {own:.3f}", seeds=seeds_of("alignment"))
    assert own_few >= few


@pytest.mark.slow
@pytest.mark.row(61, "own")
def test_a_critics_own_critiques_teach_as_much_as_peoples(found: dict[str, Any], figure: Callable[..., None]) -> None:
    own, peoples = (row["right"][0] for row in found["judges"][1:3])
    words = f"ranked right at test: trained on the critic's own critiques {own:.3f}, on people's {peoples:.3f}"
    figure(words, seeds=seeds_of("alignment"))
    assert own >= peoples


@pytest.mark.slow
@pytest.mark.row(39, "world")
def test_what_reward_models_of_the_world_rank_right_is_told(found: dict[str, Any], figure: Callable[..., None]) -> None:
    """Beside the bar, which is of latent-linear preferences: a sum is not linear in what stands in an answer."""
    plain, own = (row["right"][0] for row in found["judges"][:2])
    words = f"world, told and under no bar: plain {plain:.1%} of held-out pairs, reading critiques {own:.1%}"
    figure(words, seeds=seeds_of("alignment"))
    assert plain > 0.5


@pytest.mark.slow
@pytest.mark.row(49)
def test_four_of_five_rounds_beat_the_one_before(on_tiny: Studied, figure: Callable[..., None]) -> None:
    rows = on_tiny("rounds")["RoundComparison"]["rounds"]
    rates = [row["win_rate"] for row in rows[1:]]
    told = ", ".join(f"{value:.3f} [{low:.3f}, {high:.3f}]" for value, low, high in rates)
    right = ", ".join(f"{row['right'][0]:.0%}" for row in rows)
    figure(
        f"right {right}; win rates, ties half: {told}; no filter and no choice by the world", seeds=seeds_of("rounds")
    )
    assert len(rates) == 5
    assert sum(low > 0.5 for _, low, _ in rates) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        pytest.param("judges", marks=pytest.mark.row(47, "judge")),
        pytest.param("answers", marks=pytest.mark.row(47, "wins")),
    ],
)
def test_a_model_that_teaches_itself_gets_better(
    taught: dict[str, Any], figure: Callable[..., None], what: str
) -> None:
    rows = taught["RoundComparison"]["rounds"]
    critics = taught["CriticScores"]["critics"]
    told = {"judges": [row[0] for row in critics], "answers": [row["right"][0] for row in rows]}[what]
    tokens = ", ".join(f"{row['tokens']:.1f}" for row in rows)
    words = f"{what} right after 0, 1, 2 rounds: {', '.join(f'{one:.3f}' for one in told)}; tokens an answer {tokens}"
    figure(words, seeds=seeds_of("self_rewarding"))
    # Over M1 by more than the half-width of its interval: 84.3 to 84.5 % would be no rise.
    value, low, _ = critics[0] if what == "judges" else rows[0]["right"]
    assert told[-1] - told[0] > value - low


@pytest.mark.slow
@pytest.mark.row(48, "translation")
def test_cpo_translates_as_well_as_dpo(on_tiny: Studied, figure: Callable[..., None]) -> None:
    found = on_tiny("translation")["AlignmentComparison"]
    over = {row["method"]: row["over_first"] for row in found["methods"]}
    gained = {row["method"]: row["gain"] for row in found["methods"]}
    for name, (value, low, high) in gained.items():
        figure(
            f"translated right by {name}: {value:+.3f} [{low:+.3f}, {high:+.3f}] over SFT",
            seeds=seeds_of("translation"),
        )
    assert over["cpo"][0] >= 0
    assert gained["cpo"][0] > 0


@pytest.mark.slow
@pytest.mark.row(45, "ablation")
def test_deduplication_at_equal_size_is_measured(on_tiny: Studied, figure: Callable[..., None]) -> None:
    rows = on_tiny("dedup")["DialogueSetComparison"]["rows"]
    for row in rows:
        (right, *_), (value, low, high) = row["right"]["mean"], row["gain"]["mean"]
        figure(
            f"{row['set']}, {row['dialogues']:,} dialogues: right {right:.3f}, {value:+.3f} [{low:+.3f}, {high:+.3f}]",
            seeds=seeds_of("dedup"),
        )
    assert [row["set"] for row in rows] == ["all", "up to 0.95", "up to 0.9", "up to 0.8"]
    assert [row["dialogues"] for row in rows] == sorted((row["dialogues"] for row in rows), reverse=True)
    assert all(0 < row["right"]["mean"][0] < 1 for row in rows)


@pytest.mark.slow
@pytest.mark.row(46, "world")
def test_dpo_makes_answers_a_word_apart_less_likely_and_the_others_do_not(
    on_tiny: Studied, figure: Callable[..., None]
) -> None:
    found = on_tiny("edits")["AlignmentComparison"]
    chosen = {row["method"]: row["chosen"] for row in found["methods"]}
    for name, (value, low, high) in chosen.items():
        figure(
            f"{found['seeds']} seeds, chosen answers by {name}: {value:+.2f} [{low:+.2f}, {high:+.2f}] nats",
            seeds=seeds_of("edits"),
        )
    assert chosen["dpo"][0] < 0
    assert chosen["dpo and likelihood"][0] > 0
    assert chosen["dpop"][0] > 0
