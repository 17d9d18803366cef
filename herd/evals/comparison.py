"""Why two scores differ: the gap of two runs on a task, split into what each cause adds to it.

How the scores in between are known is in `cells`, and how the parts are weighed in `attribution`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from herd.core.errors import DataError
from herd.evals.answer_runs import AnswerRun
from herd.evals.attribution import Causes, item_parts
from herd.evals.cells import DRAWS, ItemCell, ItemCells, differing_prompts, own_cell
from herd.evals.intervals import Interval, bootstrap_mean, wilson
from herd.evals.significance import PairedTest, paired_items_needed, paired_test

ITEMS = "items of one run alone"
# What of an answer goes with its being wrong, whatever made the model write it.
TRUNCATED, UNPARSED, CONTENT = "truncated answers", "unparsed answers", "what was answered"
NEEDED_POINTS = (1.0, 2.0, 5.0)
_Points = dict[Causes, dict[str, Fraction]]  # of every item, in shares of 1


@dataclass(frozen=True)
class CausePart:
    """What a cause, or causes that cannot be told apart, adds to the second score over the first, in points of 100.
    items: on which it adds something. how: how that is known."""

    causes: Causes
    points: Interval
    items: int
    how: str

    @property
    def name(self) -> str:
        return join_words(self.causes)


@dataclass(frozen=True)
class TaskComparison:
    """Two runs on one task.

    first, second: their scores on all their items that are not void; counts: how many. gap: of the scores, in points.
    parts: which add up to it. symptoms: how many points of what changed the models' answers fall to items of which only
    one answer was truncated, or unparsed, and to the rest. paired: on the items of both. needed: how many items show a
    difference of so many points, as often as these models differ. item_points: of every item of both, by cause.
    """

    task: str
    labels: tuple[str, str]
    first: Interval
    second: Interval
    counts: tuple[int, int]
    gap: float
    paired: PairedTest
    parts: tuple[CausePart, ...]
    symptoms: Mapping[str, float]
    needed: Mapping[float, int]
    notes: tuple[str, ...]
    item_points: Mapping[str, Mapping[str, float]]


def compare_runs(first: AnswerRun, second: AnswerRun, others: Sequence[AnswerRun] = ()) -> TaskComparison:
    """Two runs on a task. others: further runs, each with every cause of its answers as in one of the two. Raises
    DataError when the two have no item in common that is not void."""
    cells = ItemCells(first, second, others)
    scores = [_own_scores(run) for run in (first, second)]
    common = sorted(scores[0].keys() & scores[1].keys())
    if not common:
        raise DataError(
            f"{first.label} and {second.label} share no item of {first.task} with a score; compare answers to the same"
        )
    points, symptoms = _split(cells, common)
    joint = {cause for causes, own in points.items() if len(causes) > 1 and any(own.values()) for cause in causes}
    unsaid = {(DRAWS,), *((cause,) for cause in joint)}  # where they add nothing alone
    reported = {causes: own for causes, own in points.items() if causes not in unsaid or any(own.values())}
    parts = [_cause_part(causes, own, common, cells) for causes, own in reported.items()]
    means = [_mean(list(own.values())) for own in scores]
    rest = means[1] - means[0] - sum((_mean(list(by_item.values())) for by_item in points.values()), Fraction(0))
    if rest:
        others_count = len(scores[0].keys() ^ scores[1].keys())
        parts.append(CausePart((ITEMS,), _without_interval(float(100 * rest)), others_count, "counted"))
    first_scores, second_scores = (list(map(own.__getitem__, common)) for own in scores)
    paired = paired_test(first_scores, second_scores)
    return TaskComparison(
        first.task,
        (first.label, second.label),
        _score_interval(list(scores[0].values())),
        _score_interval(list(scores[1].values())),
        (len(scores[0]), len(scores[1])),
        float(100 * (means[1] - means[0])),
        paired,
        tuple(sorted(parts, key=lambda part: (-abs(part.points.value), part.causes))),
        {name: float(100 * value / len(common)) for name, value in sorted(symptoms.items())},
        {step: paired_items_needed(paired.discordant_share, step / 100) for step in NEEDED_POINTS},
        _notes(first, second, cells),
        {join_words(causes): _nonzero(by_item) for causes, by_item in points.items()},
    )


def _own_scores(run: AnswerRun) -> dict[str, float]:
    cells = ((name, own_cell(run, name)) for name in run.records)
    return {name: cell.value for name, cell in cells if cell is not None}


def _split(cells: ItemCells, common: Sequence[str]) -> tuple[_Points, dict[str, Fraction]]:
    """What every cause adds to every item, and how much of what changed answers goes with which symptom."""
    points: defaultdict[Causes, dict[str, Fraction]] = defaultdict(lambda: dict.fromkeys(common, Fraction(0)))
    symptoms: defaultdict[str, Fraction] = defaultdict(Fraction)
    for name in common:
        known = cells.of_item(name)
        for part in item_parts({mask: cell.value for mask, cell in known.items()}, cells.names.all):
            points[part.causes][name] += part.points
            if part.points and set(part.causes) & set(cells.names.answers):
                symptoms[_symptom(known[part.before], known[part.after])] += part.points
    return dict(points), dict(symptoms)


def _symptom(before: ItemCell, after: ItemCell) -> str:
    if before.truncated != after.truncated:
        return TRUNCATED
    return UNPARSED if before.unparsed != after.unparsed else CONTENT


def _mean(values: Sequence[float] | Sequence[Fraction]) -> Fraction:
    return sum((Fraction(value) for value in values), Fraction(0)) / len(values)


def _nonzero(by_item: Mapping[str, Fraction]) -> dict[str, float]:
    return {name: float(value) for name, value in by_item.items() if value}


def _score_interval(values: Sequence[float]) -> Interval:
    if len(values) == 1 or all(value in (0, 1) for value in values):
        return wilson(sum(values), len(values))
    return bootstrap_mean(values)


def _without_interval(value: float) -> Interval:
    return Interval(value, -math.inf, math.inf)


def _cause_part(causes: Causes, by_item: Mapping[str, Fraction], common: Sequence[str], cells: ItemCells) -> CausePart:
    values = [by_item[name] for name in common]
    mean = float(100 * _mean(values))
    interval = _without_interval(mean)
    if len(values) > 1:
        interval = bootstrap_mean([100 * float(value) for value in values])._replace(value=mean)
    if len(causes) > 1:
        how = "cannot be told apart"
    elif set(causes) <= set(cells.names.grading):
        how = "graded again"
    else:
        how = "measured" if len(cells.names.answers) > 1 else "what is left"
    return CausePart(causes, interval, sum(value != 0 for value in values), how)


def _notes(first: AnswerRun, second: AnswerRun, cells: ItemCells) -> tuple[str, ...]:
    """What a reader of the parts has to know."""
    sentences = [*first.notes, *second.notes]
    differing, prompts = differing_prompts(first, second)
    if differing:
        sentences.append(f"prompts differ on {differing:,} of {prompts:,} items")
    together = cells.names.answers
    if len(together) > 1 and cells.num_runs == 2:
        sentences.append(
            f"{join_words(together)} changed together and these answers cannot tell them apart; answers of one of the "
            "models under the other's prompt can: name their folder with --also"
        )
    if cells.incomplete:
        sentences.append(
            "some answers cannot be graded under the other run's settings, as they ended before what these would have "
            "ended or no grader is at hand; orders of causes that need them are left out"
        )
    sentences += [f"{label} is not used: it differs from both runs, or repeats one of them" for label in cells.unused]
    for run in (first, second):
        sentences += getattr(run.regrade, "problems", ())
    return tuple(dict.fromkeys(sentences))


def join_words(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
