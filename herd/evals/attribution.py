"""Splits the gap between two scores into what each cause adds, as far as the scores between them are known.

Two runs differ in some causes, each of which is as in the first run or as in the second. A cell is what an item scores
with some of the causes as in the second run. The first run's own score is the cell of none of them, the second's that
of all. In between, cells are known where stored answers can be graded again so, or where another run was made so.

On a way from the first cell to the last through known cells, one cause after the other is switched, and what the score
changes by is that cause's. All ways count alike: with all cells known this is Shapley's value. Where the answer to one
order of switching is unknown (what would a model have written after the stop string that ended it?) only the orders
count whose cells are known. Where no order of single causes is known, the ways that switch as few as can be at once
count, and what such a step changes belongs to its causes together: they cannot be told apart. The parts of every item
add up to its gap exactly, as fractions.

Source: Shapley 1953 (A Value for n-Person Games); Faigle & Kern 1992 (over the orders that are possible); Shorrocks
2013 (decompositions of differences).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

Mask = int  # of causes that are as in the second run, by their place


@dataclass(frozen=True)
class Switch:
    """A switch of the causes in which `before` and `after` differ. weight: the share of ways that take it."""

    before: Mask
    after: Mask
    weight: Fraction


@functools.lru_cache(maxsize=4096)
def steps_between(known: frozenset[Mask], count: int) -> tuple[Switch, ...]:
    """The steps of all ways from cell 0 to the cell of all `count` causes through known cells with as many steps as
    there can be, each with the share of ways that take it. Raises ValueError when one of the two ends is not known."""
    last = (1 << count) - 1
    if not {0, last} <= known:
        raise ValueError("both runs' own scores have to be known")
    order = sorted(known, key=lambda mask: (mask.bit_count(), mask))
    before: dict[Mask, list[Mask]] = {mask: [] for mask in order}
    after: dict[Mask, list[Mask]] = {mask: [] for mask in order}
    for low, high in itertools.permutations(order, 2):
        if low & high == low:
            before[high].append(low)
            after[low].append(high)
    from_first = _longest(order, before, 0)
    to_last = _longest(order[::-1], after, last)
    length, ways = from_first[last]
    steps = []
    for high in order:
        for low in before[high]:
            if low in from_first and high in to_last and from_first[low][0] + 1 + to_last[high][0] == length:
                steps.append(Switch(low, high, Fraction(from_first[low][1] * to_last[high][1], ways)))
    return tuple(steps)


def _longest(
    order: Sequence[Mask], neighbours: Mapping[Mask, Sequence[Mask]], start: Mask
) -> dict[Mask, tuple[int, int]]:
    """Of every cell that is reached from `start`: steps of the longest ways to it, and how many of these there are."""
    reached = {start: (0, 1)}
    for mask in order:
        lengths = [reached[neighbour] for neighbour in neighbours[mask] if neighbour in reached]
        if mask != start and lengths:
            longest = max(length for length, _ in lengths)
            reached[mask] = longest + 1, sum(ways for length, ways in lengths if length == longest)
    return reached


Causes = tuple[str, ...]


@dataclass(frozen=True)
class ItemPart:
    """What switching `causes` from the first run to the second adds to an item's score, on one step. before, after: the
    cells. points: weighed by the share of ways that take the step."""

    causes: Causes
    before: Mask
    after: Mask
    points: Fraction


def item_parts(values: Mapping[Mask, float], causes: Sequence[str]) -> Iterator[ItemPart]:
    """The parts of an item's gap, second run less first. values: what the item scores in every known cell."""
    for step in steps_between(frozenset(values), len(causes)):
        switched = tuple(cause for place, cause in enumerate(causes) if (step.before ^ step.after) >> place & 1)
        change = Fraction(values[step.after]) - Fraction(values[step.before])
        yield ItemPart(switched, step.before, step.after, step.weight * change)
