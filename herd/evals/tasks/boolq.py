"""BoolQ: questions with yes or no, about a passage."""

from __future__ import annotations

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Task

_CHOICES = ["no", "yes"]


def _row(passage: str, question: str, answer: object) -> DatasetRow:
    if answer not in (0, 1):
        raise ValueError(f"the answer {answer!r} is none of true and false")
    return {"passage": passage, "question": question.removesuffix("?"), "choices": _CHOICES, "gold": int(bool(answer))}


def _of_query(row: DatasetRow, file: str) -> DatasetRow:
    passage, marker, question = row["query"].removeprefix("Passage: ").rpartition("\nQuestion: ")
    if not marker:
        raise ValueError("the query has no line `Question:`")
    return _row(passage, question.strip(), row["gold"] == row["choices"].index("yes"))


DATA = BenchmarkData(
    "aps/super_glue",
    (
        RowForm(
            ("passage", "question", "label"), lambda row, file: _row(row["passage"], row["question"], row["label"])
        ),
        RowForm(
            ("passage", "question", "answer"), lambda row, file: _row(row["passage"], row["question"], row["answer"])
        ),
        RowForm(("query", "choices", "gold"), _of_query),
    ),
    config="boolq",
    names=("boolq", "super_glue", "superglue"),
    sizes={"train": 9_427, "validation": 3_270},
)


@benchmark(ChoiceSettings, DATA)
def boolq(own: ChoiceSettings) -> Task:
    """BoolQ: whether a passage says so; `no` and `yes` compared.

    Source: Clark et al. 2019; lm-evaluation-harness, `boolq`.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 0))
    return choice_task(own, questions, text=lambda row: f"{row['passage']}\nQuestion: {row['question']}?\nAnswer:")
