"""Needles at depths: where they stand, and the grid of what is found."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.evals.needle_grid import GridPrompts, OwnNeedle, cell_name, grid_cells
from herd.evals.results import GroupShare, NeedleCell
from herd.evals.ruler_needles import NeedleWords
from herd.evals.sized import PromptDraw, TokenCounts
from tests.tokens.test_chat import TOKENIZER

WORDS = NeedleWords([f"first{n}" for n in range(30)], [f"last{n}" for n in range(30)])
SENTENCES = [f"S{n} has {'some ' * (n % 5)}words." for n in range(50)]
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


@settings(max_examples=40)
@given(number=st.integers(0, 4), units=st.integers(8, 120), count=st.sampled_from([1, 4]))
def test_needles_stand_at_their_depths_and_split_no_sentence(number: int, units: int, count: int) -> None:
    prompts = GridPrompts(SENTENCES, WORDS, depths=DEPTHS, num_needles=count, num_queries=min(2, count))
    draw = PromptDraw("x", 1, 1000, number)
    prompt = prompts.render(draw, units)
    context, question = prompt.text.split("\n\n")
    needles = re.findall(r"One of the special magic numbers for \S+ is: \d+\.", context)
    assert len(needles) == count
    rest = re.split(r" ?One of the special magic numbers for \S+ is: \d+\. ?", context)
    assert re.findall(r"S\d+ [^.]*\.", " ".join(rest)) == (SENTENCES * 3)[:units]
    total = sum(map(len, rest))
    longest = max(map(len, SENTENCES)) + 1
    seen = 0
    for place, part in enumerate(rest[:-1]):
        seen += len(part)
        depth = DEPTHS[number] + place * (1 - DEPTHS[number]) / count
        assert depth * total - longest - 8 <= seen <= depth * total + 8
    assert len(prompt.answers) == min(2, count)
    assert all(context.count(f" {answer}.") == 1 for answer in prompt.answers)
    assert all(key in context for key in re.findall(r"first\d+-last\d+", question))


def test_a_prompt_costs_what_is_counted_of_it() -> None:
    prompts, counts = GridPrompts(SENTENCES, WORDS, depths=DEPTHS, repeats=2), TokenCounts(TOKENIZER)
    fixed = set()
    for number in range(10):
        draw = PromptDraw("x", 1, 1000, number)
        assert prompts.depth_of(draw) == DEPTHS[number // 2]
        units, tokens = prompts.fit(draw, 1500, counts)
        assert 1300 < tokens <= 1500
        fixed.add(len(TOKENIZER.encode(prompts.render(draw, units).text)) - tokens)
    assert max(fixed) - min(fixed) <= 1


def test_a_needle_of_ones_own_is_hidden_as_it_is() -> None:
    own = OwnNeedle("The cat sleeps in the mill.", "Where does the cat sleep?", "in the mill")
    prompts = GridPrompts(SENTENCES, NeedleWords((), ()), depths=(0.5,), own=own)
    prompt = prompts.render(PromptDraw("x", 1, 1000, 0), 20)
    assert prompt.text.count(own.sentence) == 1
    assert prompt.text.endswith(own.question)
    assert prompt.answers == ("in the mill",)


def test_groups_are_cells_of_a_grid() -> None:
    groups = {cell_name(2000, 0.05): GroupShare(0.5, 2), cell_name(131_072, 1.0): GroupShare(0.25, 4)}
    assert sorted(groups) == list(groups)
    assert grid_cells(groups) == [NeedleCell(2000, 0.05, 1.0, 2), NeedleCell(131_072, 1.0, 1.0, 4)]
    assert grid_cells({"anatomy": GroupShare(0.5, 2)}) == []
    assert grid_cells({}) == []


def test_more_than_all_cannot_be_asked_for() -> None:
    with pytest.raises(DataError, match="ask for at most all"):
        GridPrompts(SENTENCES, WORDS, depths=DEPTHS, num_queries=2)
