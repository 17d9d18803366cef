"""MMLU asked in ways that should make no difference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, zip_longest
from pathlib import PurePosixPath

from herd.core.errors import DataError
from herd.core.settings import InputFile, NonNegativeInt
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm, benchmark_rows
from herd.evals.robustness import FACTORS, Factor, robustness_task
from herd.evals.rowforms import check_gold, gold_of
from herd.evals.tasks import Task, tasks


def _subject(row: DatasetRow, file: str) -> str:
    """`anatomy` of `dev/anatomy_dev.csv`."""
    return row.get("subject") or re.sub(r"_(test|dev|val)$", "", PurePosixPath(file).name.partition(".")[0])


def _listed(row: DatasetRow, file: str) -> DatasetRow:
    own = {"question": row["question"], "choices": list(row["choices"]), "gold": int(row["answer"])}
    return check_gold({**own, "subject": _subject(row, file)})


def _in_columns(row: DatasetRow, file: str) -> DatasetRow:
    choices = [row[letter] for letter in "ABCD"]
    gold = gold_of(row["answer"], "ABCD")
    return {"question": row["question"], "choices": choices, "gold": gold, "subject": _subject(row, file)}


def _numbered(row: DatasetRow, file: str) -> DatasetRow:
    choices = [row[f"choice{number}"] for number in range(4)]
    own = {"question": row["question"], "choices": choices, "gold": int(row["answer"])}
    return check_gold({**own, "subject": _subject(row, file)})


_COLUMNS = ("question", "choice0", "choice1", "choice2", "choice3", "answer")
_DATA = BenchmarkData(
    "cais/mmlu",
    (
        RowForm(("question", "choices", "answer"), _listed),
        RowForm(_COLUMNS, _numbered),
        RowForm(("question", "A", "B", "C", "D", "answer"), _in_columns, ("question", *"ABCD", "answer")),
    ),
    config="all",
    names=("mmlu", "hendrycks_test"),
    sizes={"test": 14_042, "validation": 1_531, "dev": 285},
    splits={"test": ("test",), "validation": ("validation", "val"), "dev": ("dev",), "train": ("train",)},
)


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
    questions = benchmark_rows(data, split, _DATA)
    by_subject: dict[str, list[DatasetRow]] = {}
    for row in benchmark_rows(data, "dev", _DATA).rows if num_fewshot else ():
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
