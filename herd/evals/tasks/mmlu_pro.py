"""MMLU-Pro: up to ten choices, with thoughts before the answer."""

from __future__ import annotations

import re

from herd.evals.benchmarks import (
    LETTERS,
    GenerationSettings,
    Layout,
    benchmark,
    load_questions,
    prompt_of,
    with_examples,
)
from herd.evals.choices import letter_of, list_choices
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.rowforms import check_gold
from herd.evals.task import Example, Grade, ModelAnswer, Task
from herd.judge.extraction import grade_letter


def _row(row: DatasetRow, file: str) -> DatasetRow:
    gold = row.get("answer_index")
    return check_gold(
        {
            "id": str(row["question_id"]),
            "question": row["question"],
            "choices": list(row["options"]),
            "gold": LETTERS.index(row["answer"]) if gold is None else int(gold),
            "subject": row["category"],
            "thoughts": row.get("cot_content") or "",
        }
    )


DATA = BenchmarkData(
    "TIGER-Lab/MMLU-Pro",
    (RowForm(("question_id", "question", "options", "answer", "category"), _row),),
    names=("mmlu_pro",),
    sizes={"test": 12_032, "validation": 70},
)


def _classic_question(row: DatasetRow) -> str:
    listed = "".join(
        f"{letter}. {choice.strip()}\n" for letter, choice in zip(LETTERS[:10], row["choices"], strict=False)
    )
    return f"Question:\n{row['question']}\nOptions:\n{listed}Answer: Let's think step by step."


def _classic_answer(row: DatasetRow) -> str:
    return row["thoughts"].replace("A: Let's think step by step. ", "")


def _classic_description(row: DatasetRow) -> str:
    return (
        f"The following are multiple choice questions (with answers) about {row['subject']}. Think step by step and "
        'then finish your answer with "the answer is (X)" where X is the correct letter choice.\n'
    )


def _llama3_question(row: DatasetRow) -> str:
    return (
        "Given the following question and candidate answers, choose the best answer.\n"
        f"Question: {row['question'].strip()}{list_choices(row)}\n\n"
        'Your response should end with "The best answer is [the_answer_letter]." where the [the_answer_letter] is a '
        "letter from the provided choices.\n\nLet's think step by step."
    )


def _llama3_answer(row: DatasetRow) -> str:
    thoughts = row["thoughts"].removeprefix("A: Let's think step by step.").strip()
    return re.sub(r"The answer is \(([A-Z])\)\.", r"The best answer is \1.", thoughts)


@benchmark(GenerationSettings, DATA)
def mmlu_pro(own: GenerationSettings) -> Task:
    """MMLU-Pro: 14 subjects, up to ten choices, five shots with thoughts; the letter that the answer ends with.

    Source: Wang et al. 2024; lm-evaluation-harness, `mmlu_pro` and `mmlu_pro_llama`; llama-models, eval_details.
    """
    questions = load_questions(
        own,
        DATA,
        split="test",
        fewshot_split="validation",
        num_fewshot=own.shots(5, 5),
        first_shots=True,
        group=lambda row: row["subject"],
    )
    if own.prompt_style == "llama3":
        layout, generation = Layout(_llama3_question, _llama3_answer), own.generation(1024)
    else:
        layout = Layout(_classic_question, _classic_answer, _classic_description)
        generation = own.generation(2048, ("Question:",))
    pattern = own.style("mmlu_pro", "mmlu_pro_llama")

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        verdict = grade_letter(answer.text, letter_of(example.row), pattern=pattern)
        return Grade(verdict.score, verdict.extracted, verdict.reason, verdict.unparsed)

    return Task(
        with_examples(questions, lambda row: ""),
        prompt_of(layout, questions, own),
        generation,
        grade,
        metrics=own.votes(),
        group=lambda example: example.row["subject"],
        notes=questions.notes,
    )
