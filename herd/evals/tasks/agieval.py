"""AGIEval: exams that people take, in English."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from herd.evals.benchmarks import LETTERS, benchmark, load_questions
from herd.evals.choices import ChoiceSettings, choice_task
from herd.evals.datasets import BenchmarkData, DatasetRow, RowForm
from herd.evals.task import Task

ENGLISH = (
    "aqua-rat",
    "gaokao-english",
    "logiqa-en",
    "lsat-ar",
    "lsat-lr",
    "lsat-rc",
    "sat-en",
    "sat-en-without-passage",
    "sat-math",
)


def _exam(file: str) -> str:
    """`lsat-ar` of `hails___agieval-lsat-ar/default/.../test.arrow` or of `lsat-ar.jsonl`; of several the longest."""
    plain = re.sub(r"[^a-z]+", "-", str(PurePosixPath(file)).lower())
    exams = [exam for exam in ENGLISH if exam in plain]
    if not exams:
        raise ValueError(f"the file's name is none of {', '.join(ENGLISH)}")
    return max(exams, key=len)


def _of_the_hub(row: DatasetRow, file: str) -> DatasetRow:
    return {"exam": _exam(file), "question": row["query"], "choices": list(row["choices"]), "gold": list(row["gold"])}


def _of_release(row: DatasetRow, file: str) -> DatasetRow:
    options, answer = list(row["options"]), row["label"]
    passage = f"{row.get('passage') or ''}"
    listed = " ".join(options)
    question = (
        f"{passage}Q: {row['question']} Answer Choices: {listed}\nA: Among A through {LETTERS[len(options) - 1]}, "
    )
    return {
        "exam": _exam(file),
        "question": f"{question}the answer is",
        "choices": options,
        "gold": [LETTERS.index(letter) for letter in answer],
    }


DATA = BenchmarkData(
    "hails/agieval-{config}",
    (RowForm(("query", "choices", "gold"), _of_the_hub), RowForm(("question", "options", "label"), _of_release)),
    configs=ENGLISH,
    names=("agieval", "AGIEval"),
    sizes={"test": 2_852},
    passed_over=(
        "zh",
        "chinese",
        "geography",
        "history",
        "biology",
        "chemistry",
        "physics",
        "mathqa",
        "mathcloze",
        "jec",
        "math-agieval",
    ),
)


@benchmark(ChoiceSettings, DATA)
def agieval(own: ChoiceSettings) -> Task:
    """AGIEval: nine English exams with choices, the whole of which are compared.

    The score over questions, and over exams (macro). Source: Zhong et al. 2023; lm-evaluation-harness, `agieval_en`.
    Differs: its `agieval_math`, whose answers are written, is no part of it (`minerva_math` asks such), and Llama 3's
    three to five shots are no part of the data.
    """
    questions = load_questions(own, DATA, split="test", num_fewshot=own.shots(0, 0), group=lambda row: row["exam"])
    return choice_task(own, questions, text=lambda row: row["question"], group=lambda row: row["exam"])
