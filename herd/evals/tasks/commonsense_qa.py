"""CommonsenseQA: what people know about the world."""

from __future__ import annotations

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task, list_choices
from herd.evals.datasets import BenchmarkData
from herd.evals.rowforms import STEM_FORM, labelled_choices, listed_query_form
from herd.evals.task import Task

DATA = BenchmarkData(
    "tau/commonsense_qa",
    (labelled_choices("question"), STEM_FORM, listed_query_form("Question: ")),
    names=("commonsense_qa",),
    sizes={"train": 9_741, "validation": 1_221},
)


@benchmark(ChoiceSettings, DATA, scoring="letters")
def commonsense_qa(own: ChoiceSettings) -> Task:
    """CommonsenseQA: five choices, whose letters are compared.

    classic: no shots. llama3: seven. Source: Talmor et al. 2019; lm-evaluation-harness, `commonsense_qa`;
    llama-models, eval_details. Differs: Llama 3's seven shots have chains of thought, which no release of the data has.
    """
    questions = load_questions(own, DATA, split="validation", fewshot_split="train", num_fewshot=own.shots(0, 7))
    return choice_task(
        own,
        questions,
        text=lambda row: f"Question: {row['question'].strip()}\nAnswer:",
        lettered=lambda row: f"Question: {row['question'].strip()}{list_choices(row)}\nAnswer:",
    )
