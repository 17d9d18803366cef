"""GSM8K: word problems of grade school."""

from __future__ import annotations

import re

from herd.evals.aggregates import mean_of
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
from herd.judge.numbers import NUMBER_FORMS, grade_number


def _row(row: DatasetRow, file: str) -> DatasetRow:
    if "####" not in row["answer"]:
        raise ValueError("the answer has no line `#### N`")
    return {"question": row["question"], "answer": row["answer"]}


def _of_exemplar(row: DatasetRow, file: str) -> DatasetRow:
    return {"question": row["question"], "target": row["target"]}


DATA = BenchmarkData(
    "openai/gsm8k",
    (RowForm(("question", "answer"), _row), RowForm(("question", "target"), _of_exemplar)),
    config="main",
    names=("gsm8k", "grade_school_math"),
    sizes={"train": 7_473, "test": 1_319},
    passed_over=("socratic", "solutions"),
)


def _llama3_question(row: DatasetRow) -> str:
    return (
        "Given the following problem, reason and give a final answer to the problem.\n"
        f"Problem: {row['question']}\n"
        'Your response should end with "The final answer is [answer]" where [answer] is the response to the problem.'
    )


def _llama3_answer(row: DatasetRow) -> str:
    """An exemplar as it is; a solution of the data without its calculator's marks."""
    if "target" in row:
        return row["target"]
    thoughts, _, number = re.sub(r"<<.*?>>", "", row["answer"]).rpartition("####")
    return f"{thoughts.strip()} The final answer is {number.strip()}"


def _classic_answer(row: DatasetRow) -> str:
    return row.get("target") or row["answer"]


@benchmark(GenerationSettings, DATA)
def gsm8k(own: GenerationSettings) -> Task:
    """GSM8K: the number that a solution ends with.

    classic: five shots of the training split, the number after `####` (strict_match; the last number of all beside it).
    llama3: eight shots, 1,024 tokens, the number after `The final answer is`. Source: Cobbe et al. 2021;
    lm-evaluation-harness, `gsm8k` and `gsm8k_cot_llama`; llama-models, eval_details. Differs: Llama 3's eight chains of
    thought are Wei et al.'s; they may be named as `exemplars` (question, target), and solutions of the training split
    are shown without.
    """
    questions = load_questions(own, DATA, split="test", fewshot_split="train", num_fewshot=own.shots(5, 8))
    if own.prompt_style == "llama3":
        layout = Layout(_llama3_question, _llama3_answer)
        generation = own.generation(1024, ("Given the following problem",), chat_stop=())
    else:
        layout = Layout(lambda row: f"Question: {row['question']}\nAnswer:", _classic_answer)
        generation = own.generation(256, ("Question:", "</s>", "<|im_end|>"))
    form = NUMBER_FORMS[own.style("gsm8k", "gsm8k_cot_llama")]

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        strict = grade_number(answer.text, example.row["answer"], form=form)
        flexible = grade_number(answer.text, example.row["answer"], form=form, extraction="flexible")
        return as_grade(strict, {"strict_match": strict.score or 0.0, "flexible_extract": flexible.score or 0.0})

    return Task(
        with_examples(questions, lambda row: f" {row['answer']}"),
        prompt_of(layout, questions, own),
        generation,
        grade,
        metrics={"flexible_extract": mean_of("flexible_extract"), **own.votes(form.match.normalize)},
        notes=questions.notes,
    )
