"""PIQA: how something is done."""

from __future__ import annotations

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.rowforms import check_gold, query_form
from herd.evals.task import Task


def _row(row: DatasetRow, file: str) -> DatasetRow:
    return check_gold({"question": row["goal"], "choices": [row["sol1"], row["sol2"]], "gold": int(row["label"])})


DATA = BenchmarkData(
    "baber/piqa",
    (RowForm(("goal", "sol1", "sol2"), _row), query_form("Question: ")),
    names=("piqa", "physicaliqa-train-dev"),
    sizes={"train": 16_113, "validation": 1_838},
)


@benchmark(ChoiceSettings, DATA)
def piqa(own: ChoiceSettings) -> Task:
    """PIQA: which of two ways of doing something works.

    Source: Bisk et al. 2020; lm-evaluation-harness, `piqa`.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 0))
    return choice_task(own, questions, text=lambda row: f"Question: {row['question']}\nAnswer:")
