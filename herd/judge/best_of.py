"""What the best of K answers is worth, for every K, from one set of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb

_KS = (1, 2, 4, 10, 30)


def mean_of_best(scores: Sequence[float], values: Sequence[float], k: int) -> float:
    """The mean value of the answer that scores highest among `k`, over every way to draw `k` of these.

    Ties are won by any of them alike. Source: order statistics; of the comb(n, k) draws, those whose best is among
    equals with `below` others under them and `upto` up to them are comb(upto, k) - comb(below, k). Raises ValueError
    for more than there are.
    """
    if not 0 < k <= len(scores):
        raise ValueError(f"the best of {k} among {len(scores)} answers")
    total, below = 0.0, 0
    order = sorted(range(len(scores)), key=lambda number: scores[number])
    while below < len(order):
        alike = [number for number in order[below:] if scores[number] == scores[order[below]]]
        mean = sum(values[number] for number in alike) / len(alike)
        upto = below + len(alike)
        total += mean * (comb(upto, k) - comb(below, k))
        below = upto
    return total / comb(len(order), k)


def best_of_curve(
    scored: Sequence[Sequence[float]], measured: Mapping[str, Sequence[Sequence[float]]], num_samples: int
) -> list[dict[str, float]]:
    """A row for every K up to `num_samples`: the mean reward of the best, and of whatever else was measured of every
    answer.

    Only prompts with all `num_samples` answers count, so that every row is about the same ones; none of them, no rows.
    """
    complete = [number for number, scores in enumerate(scored) if len(scores) == num_samples]
    rows: list[dict[str, float]] = []
    for k in sorted({count for count in _KS if count < num_samples} | {num_samples}) if complete else ():
        row = {"k": float(k)}
        for name, values in {"reward": scored, **measured}.items():
            best_values = [mean_of_best(scored[number], values[number], k) for number in complete]
            row[name] = sum(best_values) / len(best_values)
        rows.append(row)
    return rows
