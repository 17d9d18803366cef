"""Figures of a task beside its score, from the grades of its examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from herd.evals.intervals import Interval, bootstrap_mean, ratio_mean, wilson
from herd.evals.significance import majority_score
from herd.evals.task import Grade, Metric


def mean_of(part: str) -> Metric:
    """The mean of a part of the grades over examples, of several samples their mean; with its 95 % interval. Void
    grades and those without the part count nowhere."""

    def mean(grades: Sequence[Sequence[Grade]]) -> Interval:
        values = [_mean(own) for own in _parts(grades, part)]
        if values and all(value in (0, 1) for value in values):
            return wilson(sum(values), len(values))
        return bootstrap_mean(values)

    return mean


def ratio_of(part: str, count: str) -> Metric:
    """The sum of one part over the sum of another, such as instructions followed of all there are; with an interval
    over examples."""

    def ratio(grades: Sequence[Sequence[Grade]]) -> Interval:
        sums, counts = list(map(sum, _parts(grades, part))), list(map(sum, _parts(grades, count)))
        return ratio_mean(sums, counts, least=0.0) if sum(counts) else Interval(math.nan, -math.inf, math.inf)

    return ratio


def perplexity_of(part: str) -> Metric:
    """e to the mean of a part in nats, with the interval of that mean."""

    def perplexity(grades: Sequence[Sequence[Grade]]) -> Interval:
        nats = bootstrap_mean([_mean(own) for own in _parts(grades, part)])
        return Interval(*(math.exp(min(value, 700.0)) for value in nats))

    return perplexity


def majority_of(normalize: Callable[[str], str] = str.strip) -> Metric:
    """maj@k of all samples of each example: the share of examples on which the answer that most samples give is right;
    with its 95 % interval. normalize: by which answers that say the same are told. Of equally frequent answers the
    first wins; samples without an answer have no vote, and void ones none either.

    Source: Wang et al. 2023 (self-consistency), 2; Lewkowycz et al. 2022 (Minerva), 2.4.
    """

    def majority(grades: Sequence[Sequence[Grade]]) -> Interval:
        votes = [[_vote(grade, normalize) for grade in own if grade.score is not None] for own in grades]
        values = [majority_score([(text, score or 0.0) for text, score in own]) for own in votes if own]
        if values and all(value in (0, 1) for value in values):
            return wilson(sum(values), len(values))
        return bootstrap_mean(values)

    return majority


def _vote(grade: Grade, normalize: Callable[[str], str]) -> tuple[str, float | None]:
    return "" if grade.unparsed else normalize(grade.extracted), grade.score


def _parts(grades: Sequence[Sequence[Grade]], part: str) -> list[list[float]]:
    rows: list[list[float]] = []
    for own in grades:
        if row := [grade.parts[part] for grade in own if grade.score is not None and part in grade.parts]:
            rows.append(row)
    return rows


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
