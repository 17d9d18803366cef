"""The needle test: an oracle finds all, a guesser almost none, and the haystack is what it says."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from herd.evals.haystack import DEPTHS, Haystack, Needle, draw_needles, haystacks
from herd.evals.needle import NeedleGrid, is_retrieved

TEXTS = [f"Sentence number {n} says something of {n * n} and then stops. Another follows it here." for n in range(200)]


def words(text: str) -> int:
    return len(text.split())


def stacks(lengths: Sequence[int] = (128, 256), seeds: int = 6) -> list[Haystack]:
    return list(haystacks(TEXTS, words, lengths=lengths, seeds=seeds))


@pytest.mark.row(80, "oracle")
@pytest.mark.row(80, "random")
def test_an_oracle_finds_all_and_a_guesser_almost_none(figure) -> None:
    import re

    oracle, guesser = NeedleGrid(), NeedleGrid()
    chance = random.Random(0)
    for stack in stacks(seeds=20):
        match = re.search(rf"{re.escape(stack.needle.stem)} ([^.]+)\.", stack.text)
        assert match is not None
        oracle.add(stack, is_retrieved(stack.needle, f" {match[1]}. And so on."))
        guesser.add(stack, is_retrieved(stack.needle, f" {draw_needles(chance, 1)[0].value}."))
    shares = [grid.at(length).value for grid in (oracle, guesser) for length in grid.lengths]
    figure(f"oracle {min(shares[:2]):.0%}, guesser {max(shares[2:]):.1%}")
    assert min(shares[:2]) == 1.0
    assert max(shares[2:]) <= 0.03


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (" red lion.", True),
        ("The code of oak is red lion.", True),
        (" red lions", True),
        (" blue lion.", False),
        ("", False),
        ("The code of oak is blue lion. The red lion", False),
    ],
)
def test_answers_are_graded(answer: str, right: bool) -> None:
    assert is_retrieved(Needle("oak", "red lion"), answer) == right


def test_a_grid_counts_by_length_and_depth() -> None:
    grid = NeedleGrid()
    for stack in stacks(seeds=2):
        grid.add(stack, stack.depth > 0)
    rows = grid.result()
    assert len(rows) == 2 * len(DEPTHS)
    assert grid.at(128).value == pytest.approx(0.8)
    assert all(row.total == 2 for row in rows)
