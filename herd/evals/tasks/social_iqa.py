"""Social IQa: why people do something, and what they feel then."""

from __future__ import annotations

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.rowforms import check_gold, listed_query_form
from herd.evals.task import Task


def _row(row: DatasetRow, file: str) -> DatasetRow:
    return check_gold(
        {
            "question": f"{row['context']} {row['question']}",
            "choices": [row[f"answer{letter}"] for letter in "ABC"],
            "gold": int(row["label"]) - 1,
        }
    )


def _of_query(row: DatasetRow, file: str) -> DatasetRow:
    converted = listed_query_form("Context: ").convert(row, file)
    assert isinstance(converted, dict)
    return {**converted, "question": converted["question"].replace("\nQuestion: ", " ")}


DATA = BenchmarkData(
    "lighteval/siqa",
    (
        RowForm(("context", "question", "answerA", "answerB", "answerC"), _row),
        RowForm(("query", "choices", "gold"), _of_query),
    ),
    names=("social_iqa", "siqa", "social_i_qa", "socialiqa-train-dev"),
    sizes={"train": 33_410, "validation": 1_954},
)


@benchmark(ChoiceSettings, DATA)
def social_iqa(own: ChoiceSettings) -> Task:
    """Social IQa: three choices, whose texts are compared.

    Source: Sap et al. 2019; lm-evaluation-harness, `social_iqa`.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 0))
    return choice_task(own, questions, text=lambda row: f"Q: {row['question']}\nA:")
