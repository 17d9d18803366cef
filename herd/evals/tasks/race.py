"""RACE: reading, as English exams in China test it."""

from __future__ import annotations

import ast

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Task

_BLANK = "  _  ."


def _of_problems(row: DatasetRow, file: str) -> DatasetRow:
    """The last question of an article, after the others with their answers."""
    *earlier, last = ast.literal_eval(row["problems"]) if isinstance(row["problems"], str) else row["problems"]
    text = f"Article: {row['article']}\n\n"
    for problem in earlier:
        answer = problem["options"]["ABCD".index(problem["answer"])]
        if problem["question"].endswith(_BLANK):
            text += f"{problem['question'][:-5]}{answer}\n"
        else:
            text += f"Question: {problem['question']}\nAnswer: {answer}\n"
    options = list(last["options"])[:4]
    return {"question": text + last["question"], "choices": options, "gold": "ABCD".index(last["answer"])}


def _of_question(row: DatasetRow, file: str) -> DatasetRow:
    text = f"Article: {row['article']}\n\n{row['question']}"
    return {"question": text, "choices": list(row["options"]), "gold": "ABCD".index(row["answer"])}


DATA = BenchmarkData(
    "EleutherAI/race",
    (
        RowForm(("article", "problems"), _of_problems),
        RowForm(("article", "question", "options", "answer"), _of_question),
    ),
    config="high",
    names=("race",),
    sizes={"test": 1_045},
)


@benchmark(ChoiceSettings, DATA)
def race(own: ChoiceSettings) -> Task:
    """RACE, of high schools: the last question of each article, after the others with their answers.

    Source: Lai et al. 2017; lm-evaluation-harness, `race`. Rows of single questions are asked one by one.
    """
    questions = load_questions(own, DATA, split="test", num_fewshot=own.shots(0, 0))
    return choice_task(own, questions, text=lambda row: row["question"])
