"""HellaSwag: how a description goes on."""

from __future__ import annotations

import re

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.rowforms import check_gold, query_form
from herd.evals.task import Task


def preprocess(text: str) -> str:
    """Without the marks of WikiHow. Source: lm-evaluation-harness, `hellaswag`."""
    text = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return text.replace("  ", " ")


def _row(row: DatasetRow, file: str) -> DatasetRow:
    context = f"{row['ctx_a']} {row['ctx_b'].capitalize()}"
    return check_gold(
        {
            "question": preprocess(f"{row['activity_label']}: {context}"),
            "choices": [preprocess(ending) for ending in row["endings"]],
            "gold": int(row["label"]),
        }
    )


DATA = BenchmarkData(
    "Rowan/hellaswag",
    (RowForm(("activity_label", "ctx_a", "ctx_b", "endings", "label"), _row), query_form()),
    names=("hellaswag",),
    sizes={"train": 39_905, "validation": 10_042},
)


@benchmark(ChoiceSettings, DATA, normalize="characters")
def hellaswag(own: ChoiceSettings) -> Task:
    """HellaSwag: which of four endings a description of a scene has; divided by characters, as is usual.

    Source: Zellers et al. 2019; lm-evaluation-harness, `hellaswag` (its `acc_norm`; `acc` is a metric beside it).
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 0))
    return choice_task(own, questions, text=lambda row: row["question"])
