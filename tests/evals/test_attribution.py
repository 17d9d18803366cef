"""The parts of a gap: Shapley's value where all is known, possible orders where it is not, and always the gap."""

from __future__ import annotations

import itertools
from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.evals.attribution import item_parts, steps_between

ABC = ("a", "b", "c")


def parts_of(values: dict[int, float], causes: tuple[str, ...]) -> dict[tuple[str, ...], Fraction]:
    found: defaultdict[tuple[str, ...], Fraction] = defaultdict(Fraction)
    for part in item_parts(values, causes):
        found[part.causes] += part.points
    return dict(found)


def shapley(values: dict[int, float], count: int) -> list[Fraction]:
    """By enumeration of all orders."""
    total = [Fraction(0)] * count
    orders = list(itertools.permutations(range(count)))
    for order in orders:
        mask = 0
        for player in order:
            total[player] += Fraction(values[mask | 1 << player]) - Fraction(values[mask])
            mask |= 1 << player
    return [value / len(orders) for value in total]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_with_every_cell_known_it_is_shapleys_value(cells: list[float]) -> None:
    values = dict(enumerate(cells))
    found = parts_of(values, ABC)
    assert [found[name,] for name in ABC] == shapley(values, 3)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(1, 14), st.floats(0, 1)), st.floats(0, 1), st.floats(0, 1))
def test_parts_add_up_to_the_gap_exactly_whatever_is_known(some: dict[int, float], first: float, last: float) -> None:
    values = {**some, 0: first, 15: last}
    found = list(item_parts(values, ("a", "b", "c", "d")))
    assert sum(part.points for part in found) == Fraction(last) - Fraction(first)
    for part in found:
        assert part.before in values
        assert part.after in values


def test_an_order_whose_answer_is_unknown_counts_not() -> None:
    # a: stop strings, b: answers. What the second's answers score with the first's stop strings (cell b) is unknown.
    assert parts_of({0: 0.7, 1: 0.0, 3: 0.0}, ("a", "b")) == {("a",): -Fraction(0.7), ("b",): Fraction(0)}
    # With it known, both orders count.
    assert parts_of({0: 1.0, 1: 0.0, 2: 1.0, 3: 0.0}, ("a", "b")) == {("a",): Fraction(-1), ("b",): Fraction(0)}


def test_causes_that_cannot_be_told_apart_are_named_together() -> None:
    assert parts_of({0: 1.0, 3: 0.0}, ("a", "b")) == {("a", "b"): Fraction(-1)}
    # c alone can be told, before or after the others.
    found = parts_of({0: 1.0, 4: 0.5, 3: 0.25, 7: 0.0}, ABC)
    assert found == {("c",): -Fraction(3, 8), ("a", "b"): -Fraction(5, 8)}


def test_the_finest_ways_are_taken() -> None:
    # 0 -> 7 by a then b then c is known; 0 -> 6 -> 7 is coarser and counts not.
    found = parts_of({0: 0.0, 1: 1.0, 3: 0.0, 6: 0.5, 7: 1.0}, ABC)
    assert found == {("a",): Fraction(1), ("b",): Fraction(-1), ("c",): Fraction(1)}


def test_weights_are_shares_of_ways() -> None:
    steps = steps_between(frozenset(range(8)), 3)
    assert sum(step.weight for step in steps) == 3
    assert sum(step.weight for step in steps if step.before == 0) == 1
    with pytest.raises(ValueError, match="own scores"):
        steps_between(frozenset({0, 1}), 2)


def test_without_causes_there_is_nothing_to_split() -> None:
    assert list(item_parts({0: 0.5}, ())) == []
