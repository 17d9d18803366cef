"""GPQA: questions that experts of a field answer, and others do not with all of the web."""

from __future__ import annotations

import random
from typing import Literal

from herd.core.settings import NonNegativeInt, settings
from herd.evals.benchmarks import (
    BenchmarkQuestions,
    GenerationSettings,
    Layout,
    benchmark,
    load_questions,
    prompt_of,
    with_examples,
)
from herd.evals.choices import ChoiceSettings, grade_choices, letter_of, list_choices
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import LogLikelihood, Task
from herd.evals.tasks.mmlu import grade_best_answer, step_by_step_question


@settings
class GpqaSettings(ChoiceSettings):
    """As all benchmarks have them. shuffle_seed: draws the order of the choices, row after row. part: which of the
    release's files."""

    shuffle_seed: NonNegativeInt = 42


@settings
class GpqaCotSettings(GenerationSettings):
    """As `GpqaSettings`, of answers that are written."""

    shuffle_seed: NonNegativeInt = 42


_WRONG = tuple(f"Incorrect Answer {number}" for number in (1, 2, 3))


def _clean(text: str | None) -> str:
    return " " if text is None else text.strip().replace(" [title]", ". ").replace("  ", " ")


def _row(row: DatasetRow, file: str) -> DatasetRow:
    converted = {
        "question": row["Question"],
        "options": [*(_clean(row[name]) for name in _WRONG), _clean(row["Correct Answer"])],
    }
    domain = row.get("High-level domain") or ""
    identity = row.get("Record ID")
    converted |= {"domain": domain}
    return converted if not identity else {"id": str(identity), **converted}


def _data(part: Literal["main", "diamond", "extended"], size: int) -> BenchmarkData:
    return BenchmarkData(
        "Idavidrein/gpqa",
        (RowForm(("Question", "Correct Answer", *_WRONG), _row),),
        config=f"gpqa_{part}",
        names=("gpqa", f"gpqa_{part}"),
        sizes={"train": size},
    )


MAIN = _data("main", 448)
DIAMOND = _data("diamond", 198)


def _shuffled(questions: BenchmarkQuestions, seed: int) -> BenchmarkQuestions:
    """The choices of every row in an order of their own. Source: lm-evaluation-harness, `gpqa/n_shot`: one generator
    for all rows."""
    rng = random.Random(seed)
    rows: dict[str, DatasetRow] = {}

    def shuffle(row: DatasetRow) -> DatasetRow:
        if row["id"] not in rows:
            choices = list(row["options"])
            rng.shuffle(choices)
            rows[row["id"]] = {**row, "choices": choices, "gold": choices.index(row["options"][-1])}
        return rows[row["id"]]

    rows_asked = tuple(map(shuffle, questions.rows))
    shots = {name: tuple(map(shuffle, shot_rows)) for name, shot_rows in questions.shots.items()}
    return BenchmarkQuestions(rows_asked, shots, questions.notes)


def _listed(row: DatasetRow) -> str:
    return f"\nChoices:{list_choices(row, chr(10) + '({letter}) {choice}')}"


def _likelihood_task(own: GpqaSettings, source: BenchmarkData) -> Task:
    shots = own.shots(0, 0)
    questions = _shuffled(load_questions(own, source, split="train", num_fewshot=shots), own.shuffle_seed)
    if shots:
        before = (
            "Here are some example questions from experts. Answer the final question yourself, following the format of "
            "the previous questions exactly.\n"
        )
        layout = Layout(
            lambda row: f"Question: {row['question']}{_listed(row)}\nAnswer:", _bracketed, lambda row: before
        )
    else:
        question = "What is the correct answer to this question:"
        layout = Layout(lambda row: f"{question}{row['question']}{_listed(row)}\nAnswer:", _bracketed)
    return Task(
        with_examples(questions, lambda row: f" {_bracketed(row)}"),
        prompt_of(layout, questions, own),
        LogLikelihood(lambda example: [f" ({letter})" for letter in "ABCD"], own.normalize, share_prompts=True),
        grade_choices,
        group=lambda example: example.row["domain"] or "all",
        notes=questions.notes,
    )


def _bracketed(row: DatasetRow) -> str:
    return f"({letter_of(row)})"


@benchmark(GpqaSettings, MAIN, scoring="letters")
def gpqa(own: GpqaSettings) -> Task:
    """GPQA main: 448 questions of biology, physics and chemistry, whose four choices are put in an order of the seed's.

    Letters in brackets are compared, without shots or with (lm-eval's `zeroshot` and `n_shot`). `gpqa_cot` writes, as
    Llama 3 is measured. Source: Rein et al. 2023; lm-evaluation-harness, `gpqa_main_zeroshot`.
    """
    return _likelihood_task(own, MAIN)


@benchmark(GpqaSettings, DIAMOND, scoring="letters")
def gpqa_diamond(own: GpqaSettings) -> Task:
    """GPQA diamond: the 198 questions that experts agree on; asked as `gpqa`.

    Source: Rein et al. 2023; lm-evaluation-harness, `gpqa_diamond_zeroshot`.
    """
    return _likelihood_task(own, DIAMOND)


@benchmark(GpqaCotSettings, MAIN, prompt_style="llama3")
def gpqa_cot(own: GpqaCotSettings) -> Task:
    """GPQA main with thoughts before the answer, no shots, as Llama 3's instruct models are asked.

    Source: Rein et al. 2023; llama-models, eval_details (0 shots, 2,048 tokens, `best answer is`).
    """
    questions = _shuffled(load_questions(own, MAIN, split="train", num_fewshot=own.shots(0, 0)), own.shuffle_seed)
    layout = Layout(step_by_step_question, lambda row: f"The best answer is {letter_of(row)}.")
    return Task(
        with_examples(questions, lambda row: ""),
        prompt_of(layout, questions, own),
        own.generation(2048),
        grade_best_answer,
        metrics=own.votes(),
        group=lambda example: example.row["domain"] or "all",
        notes=questions.notes,
    )
