"""MATH: problems of competitions."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

from herd.core.settings import settings
from herd.evals.benchmarks import (
    GenerationSettings,
    Layout,
    as_grade,
    benchmark,
    load_questions,
    prompt_of,
    with_examples,
)
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Example, Grade, ModelAnswer, Task
from herd.judge.maths import grade_maths
from herd.judge.minerva import gold_answer, normalize_answer


@settings
class MathsSettings(GenerationSettings):
    """As all benchmarks have them. grader: whether two results are the same: `math_verify`, or Minerva's normalized
    form (`minerva`, of the last box in the style llama3)."""

    grader: Literal["math_verify", "minerva"] = "math_verify"


def _row(row: DatasetRow, file: str) -> DatasetRow:
    subject = row.get("type") or row.get("subject") or PurePosixPath(file).parts[0]
    converted = {"problem": row["problem"], "solution": row["solution"], "subject": subject}
    identity = row.get("unique_id") or row.get("idx")
    return converted if identity is None else {"id": str(identity), **converted}


DATA = BenchmarkData(
    "EleutherAI/hendrycks_math",
    (RowForm(("problem", "solution"), _row),),
    configs=(
        "algebra",
        "counting_and_probability",
        "geometry",
        "intermediate_algebra",
        "number_theory",
        "prealgebra",
        "precalculus",
    ),
    names=("minerva_math", "hendrycks_math", "math", "MATH", "competition_math"),
    sizes={"train": 7_500, "test": 5_000},
)


def _llama3_question(row: DatasetRow) -> str:
    return (
        "Solve the following math problem efficiently and clearly:\n\n"
        "- For simple problems (2 steps or fewer):\nProvide a concise solution with minimal explanation.\n\n"
        "- For complex problems (3 steps or more):\nUse this step-by-step format:\n\n"
        "## Step 1: [Concise description]\n[Brief explanation and calculations]\n\n"
        "## Step 2: [Concise description]\n[Brief explanation and calculations]\n\n...\n\n"
        "Regardless of the approach, always conclude with:\n\n"
        "Therefore, the final answer is: $\\boxed{answer}$. I hope it is correct.\n\n"
        "Where [answer] is just the final number or expression that solves the problem.\n\n"
        f"Problem: {row['problem']}"
    )


def _answer(row: DatasetRow) -> str:
    """An exemplar as it is; a solution of the data with the words that lm-eval's exemplars end with."""
    if "Final Answer:" in row["solution"]:
        return row["solution"]
    return (
        f"{row['solution']}\nFinal Answer: The final answer is ${gold_answer(row['solution'])}$. I hope it is correct."
    )


@benchmark(MathsSettings, DATA)
def minerva_math(own: MathsSettings) -> Task:
    """MATH: results of competition problems, of seven subjects.

    classic: four shots, 256 tokens. llama3: no shots, 5,120 tokens, the result in a box. Source: Hendrycks et al. 2021;
    Lewkowycz et al. 2022 (Minerva); lm-evaluation-harness, `minerva_math`; llama-models, eval_details. Differs:
    Minerva's four exemplars may be named as `exemplars` (problem, solution), and solutions of the data are shown
    without; Llama 3 also asked a model whether results are the same.
    """
    questions = load_questions(own, DATA, split="test", fewshot_split="train", num_fewshot=own.shots(4, 0))
    if own.prompt_style == "llama3":
        layout, generation = Layout(_llama3_question, _answer), own.generation(5120)
    else:
        layout = Layout(lambda row: f"Problem:\n{row['problem']}\n\nSolution:", _answer)
        generation = own.generation(256, ("Problem:",))
    form = "math_verify" if own.grader == "math_verify" else own.style("classic", "classic_boxed")

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        return as_grade(grade_maths(answer.text, example.row["solution"], form=form))

    return Task(
        with_examples(questions, lambda row: f" {row['solution']}"),
        prompt_of(layout, questions, own),
        generation,
        grade,
        metrics=own.votes(normalize_answer),
        group=lambda example: example.row["subject"],
        notes=questions.notes,
    )
