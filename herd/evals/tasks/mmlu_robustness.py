"""MMLU asked in ways that should make no difference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from herd.core.errors import DataError
from herd.core.settings import InputFile, NonNegativeInt
from herd.evals.datasets import DatasetRow, benchmark_rows
from herd.evals.robustness import FACTORS, Factor, robustness_task
from herd.evals.tasks import Task, tasks
from herd.evals.tasks.mmlu import DATA


@tasks.add
def mmlu_robustness(
    *, data: InputFile | None = None, split: str = "test", limit: NonNegativeInt = 0, num_fewshot: NonNegativeInt = 4,
    factors: tuple[Factor, ...] = FACTORS,
) -> Task:  # fmt: skip
    """MMLU under other labels of shots and choices, orders of choices, and prompts; each variant's macro score, and how
    far apart they are.

    data: as of `mmlu`. limit: questions, evenly of all subjects, each of which is asked in every variant. factors:
    which things are varied. num_fewshot: shots of the subject; their labels go by fours.
    Source: Llama 3, 5.1.2; Hendrycks et al. 2021 (MMLU).
    """
    questions = benchmark_rows(data, split, DATA)
    by_subject: dict[str, list[DatasetRow]] = {}
    for row in benchmark_rows(data, "dev", DATA).rows if num_fewshot else ():
        by_subject.setdefault(row["subject"], []).append(row)
    rows = _evenly(questions.rows, limit)
    shots = {row["subject"]: by_subject.get(row["subject"], [])[:num_fewshot] for row in rows}
    short = next((subject for subject, own in shots.items() if len(own) < num_fewshot), None)
    if short is not None:
        raise DataError(f"{num_fewshot} shots are wanted and {short!r} has {len(shots[short])}; set num_fewshot lower")
    return robustness_task(rows, shots, factors, questions.notes)


def _evenly(rows: Sequence[DatasetRow], limit: int) -> list[DatasetRow]:
    """`limit` rows, of each subject in turn, in the order of the file; all where it is 0."""
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row["subject"], []).append(number)
    in_turn = [number for number in chain.from_iterable(zip_longest(*groups.values())) if number is not None]
    return [rows[number] for number in sorted(in_turn[: limit or None])]
