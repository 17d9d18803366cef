"""ARC: science questions of exams."""

from __future__ import annotations

from dataclasses import replace

from herd.evals.benchmarks import benchmark, load_questions
from herd.evals.choices import ChoiceSettings, best_answer_question, choice_task, list_choices, named_letter_task
from herd.evals.datasets import BenchmarkData, DatasetRow
from herd.evals.rowforms import STEM_FORM, labelled_choices, query_form
from herd.evals.task import Task

_FORMS = (labelled_choices("question"), STEM_FORM, query_form("Question: "))
EASY = BenchmarkData(
    "allenai/ai2_arc",
    _FORMS,
    config="ARC-Easy",
    names=("arc_easy", "ai2_arc", "ARC-V1-Feb2018-2"),
    sizes={"train": 2_251, "validation": 570, "test": 2_376},
)
CHALLENGE = replace(
    EASY,
    config="ARC-Challenge",
    names=("arc_challenge", "ai2_arc", "ARC-V1-Feb2018-2"),
    sizes={"train": 1_119, "validation": 299, "test": 1_172},
)


def _text(row: DatasetRow) -> str:
    return f"Question: {row['question']}\nAnswer:"


def _lettered(row: DatasetRow) -> str:
    return f"{row['question'].strip()}{list_choices(row)}\nAnswer:"


@benchmark(ChoiceSettings, EASY)
def arc_easy(own: ChoiceSettings) -> Task:
    """ARC, the easy part: science questions with mostly four choices, whose texts are compared.

    Source: Clark et al. 2018; lm-evaluation-harness, `arc_easy`.
    """
    questions = load_questions(own, EASY, split="test", fewshot_split="train", num_fewshot=own.shots(0, 25))
    return choice_task(own, questions, text=_text, lettered=_lettered)


@benchmark(ChoiceSettings, CHALLENGE)
def arc_challenge(own: ChoiceSettings) -> Task:
    """ARC, the part that retrieval and co-occurrence get wrong.

    classic: texts compared, no shots (25 are usual; `scoring: letters` with `num_fewshot: 25` is how Llama 3's base
    models are measured). llama3: the model goes on from `The best answer is`; of four choices only, as lm-eval has it.
    Source: Clark et al. 2018; lm-evaluation-harness, `arc_challenge` and `arc_challenge_llama`; llama-models,
    eval_details.
    """
    shots = own.shots(0, 0)
    questions = load_questions(own, CHALLENGE, split="test", fewshot_split="train", num_fewshot=shots)
    if own.prompt_style == "classic":
        return choice_task(own, questions, text=_text, lettered=_lettered)
    four = tuple(row for row in questions.rows if len(row["choices"]) == 4)
    notes = questions.notes
    if len(four) < len(questions.rows):
        notes += (f"{len(questions.rows) - len(four)} questions without four choices were left out",)
    return named_letter_task(
        own, replace(questions, rows=four, notes=notes), question=best_answer_question, max_tokens=100
    )
