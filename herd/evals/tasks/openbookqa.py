"""OpenBookQA: elementary science with a fact that is not given."""

from __future__ import annotations

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task, list_choices
from herd.evals.datasets import BenchmarkData
from herd.evals.rowforms import STEM_FORM, labelled_choices, query_form
from herd.evals.task import Task

DATA = BenchmarkData(
    "allenai/openbookqa",
    (labelled_choices("question_stem"), STEM_FORM, query_form()),
    config="main",
    names=("openbookqa", "OpenBookQA-V1-Sep2018"),
    sizes={"train": 4_957, "validation": 500, "test": 500},
)


@benchmark(ChoiceSettings, DATA)
def openbookqa(own: ChoiceSettings) -> Task:
    """OpenBookQA: how a sentence of elementary science ends; the texts of four choices compared.

    Source: Mihaylov et al. 2018; lm-evaluation-harness, `openbookqa`.
    """
    questions = load_questions(own, DATA, split="test", fewshot_split="train", num_fewshot=own.shots(0, 0))
    return choice_task(
        own,
        questions,
        text=lambda row: row["question"],
        lettered=lambda row: f"{row['question'].strip()}{list_choices(row)}\nAnswer:",
    )
