"""COPA: causes and effects."""

from __future__ import annotations

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.rowforms import check_gold
from herd.evals.task import Task

_CONNECTORS = {"cause": "because", "effect": "therefore"}


def _row(row: DatasetRow, file: str) -> DatasetRow:
    question = f"{row['premise'].strip()[:-1]} {_CONNECTORS[row['question']]}"  # without the full stop
    return check_gold(
        {"question": question, "choices": [_lower(row["choice1"]), _lower(row["choice2"])], "gold": int(row["label"])}
    )


def _of_query(row: DatasetRow, file: str) -> DatasetRow:
    premise, comma, connector = row["query"].strip().rpartition(", ")
    question = f"{premise} {connector}" if comma else connector
    return check_gold({"question": question, "choices": list(map(_lower, row["choices"])), "gold": row["gold"]})


def _lower(choice: str) -> str:
    return choice[:1].lower() + choice[1:]


DATA = BenchmarkData(
    "aps/super_glue",
    (
        RowForm(("premise", "choice1", "choice2", "question", "label"), _row),
        RowForm(("query", "choices", "gold"), _of_query),
    ),
    config="copa",
    names=("copa", "super_glue", "superglue"),
    sizes={"train": 400, "validation": 100},
)


@benchmark(ChoiceSettings, DATA)
def copa(own: ChoiceSettings) -> Task:
    """COPA: which of two sentences is the cause or the effect of another.

    Source: Roemmele et al. 2011; lm-evaluation-harness, `copa`, whose two spaces before a choice stand here too.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 0))
    return choice_task(own, questions, text=lambda row: row["question"], between="  ")
