"""MGSM: grade-school problems in eleven languages."""

from __future__ import annotations

import json
import re
from pathlib import PurePosixPath

from herd.core.errors import DataError
from herd.core.settings import InputFile, input_path, settings
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
from herd.judge.numbers import MGSM_FORMS, grade_answer_word, grade_localized, grade_number

# The word for a question, and that for an answer in steps. Source: lm-evaluation-harness, mgsm_native_cot.
QUESTION_WORDS = {
    "bn": ("প্রশ্ন: ", "ধাপে ধাপে উত্তর:"),
    "de": ("Frage: ", "Schritt-für-Schritt-Antwort:"),
    "en": ("Question: ", "Step-by-Step Answer:"),
    "es": ("Pregunta: ", "Respuesta paso a paso:"),
    "fr": ("Question : ", "Réponse étape par étape :"),
    "ja": ("問題： ", "ステップごとの答え:"),
    "ru": ("Задача: ", "Пошаговоерешение:"),
    "sw": ("Swali: ", "Jibu la Hatua kwa Hatua:"),
    "te": ("ప్రశ్న: ", "దశలవారీగా సమాధానం:"),
    "th": ("โจทย์: ", "คำตอบทีละขั้นตอน:"),
    "zh": ("问题： ", "逐步解答:"),
}


@settings
class MgsmSettings(GenerationSettings):
    """As all benchmarks have them. instructions: a JSON file with what is asked in each language, as `{"de": "...
    {input}"}`; the answer is then the number behind the language's word for it."""

    instructions: InputFile | None = None


def _language(row: DatasetRow, file: str) -> str:
    language = row.get("lang")
    if language is None:
        words = re.split(r"[^a-z]+", "/".join(reversed(PurePosixPath(file).parts)).lower())
        language = next((word for word in words if word in QUESTION_WORDS), None)
    if language not in QUESTION_WORDS:
        raise ValueError("neither a column `lang` nor the file's name says one of MGSM's languages")
    return language


def _row(row: DatasetRow, file: str) -> DatasetRow:
    number = row.get("answer_number")
    solution = row["answer"] if number is not None else None
    language = _language(row, file)
    before, _ = QUESTION_WORDS[language]
    converted = {
        "lang": language,
        "question": row["question"].removeprefix(before),
        "answer": str(row["answer"] if number is None else number),
        "solution": solution or "",
    }
    return {"id": f"{language}/{row['row']}", **converted} if "row" in row else converted


DATA = BenchmarkData(
    "juletxara/mgsm",
    (RowForm(("question", "answer"), _row, ("question", "answer")),),
    configs=tuple(QUESTION_WORDS),
    names=("mgsm",),
    sizes={"test": 2_750, "train": 88},
    passed_over=("exemplars",),
)


def _question(row: DatasetRow) -> str:
    before, after = QUESTION_WORDS[row["lang"]]
    return f"{before}{row['question']}\n{after}"


def _answer(row: DatasetRow) -> str:
    """Of an exemplar, without the words that begin it, such as `Step-by-Step Answer: `."""
    return row["solution"].partition(":")[2].strip() if row["solution"] else row["answer"]


def _instructed(own: MgsmSettings) -> dict[str, str]:
    if own.instructions is None:
        return {}
    words = json.loads(input_path(own.instructions).read_text(encoding="utf-8"))
    if not isinstance(words, dict) or not all("{input}" in str(text) for text in words.values()):
        raise DataError(f"{input_path(own.instructions)} is no object of languages whose texts have {{input}}; mend it")
    return words


@benchmark(MgsmSettings, DATA)
def mgsm(own: MgsmSettings) -> Task:
    """MGSM: 250 problems in each of eleven languages, answered in steps in the same; the mean over languages is macro.

    classic: no shots, 256 tokens, the number after the words of the native exemplars (the last number, as lm-eval reads
    it and as people write it, beside it). llama3: 2,048 tokens, with `instructions` as simple-evals has them, and the
    last number as people write it without. Source: Shi et al. 2022; lm-evaluation-harness, `mgsm_native_cot`;
    simple-evals, `mgsm_eval`; llama-models, eval_details.
    """
    group = _language_of
    questions = load_questions(
        own, DATA, split="test", fewshot_split="train", num_fewshot=own.shots(0, 0), first_shots=True, group=group
    )
    words = _instructed(own)
    question = (lambda row: words[row["lang"]].format(input=row["question"])) if words else _question
    layout = Layout(question, _answer)

    def grade(example: Example, answer: ModelAnswer) -> Grade:
        language, target = example.row["lang"], example.row["answer"]
        form = MGSM_FORMS[language]
        strict = grade_number(answer.text, target, form=form)
        flexible = grade_number(answer.text, target, form=form, extraction="flexible")
        localized = grade_localized(answer.text, target, language=language)
        parts = {"flexible_extract": flexible.score or 0.0, "localized": localized.score or 0.0}
        if words:
            return as_grade(grade_answer_word(answer.text, target, language=language), parts)
        return as_grade(own.style(strict, localized), parts)

    ends = tuple(sorted({before.strip() for before, _ in QUESTION_WORDS.values()}))
    return Task(
        with_examples(questions, lambda row: f" {row['answer']}"),
        prompt_of(layout, questions, own),
        own.generation(own.style(256, 2048), (*ends, "</s>", "<|im_end|>")),
        grade,
        metrics={name: mean_of(name) for name in ("flexible_extract", "localized")} | own.votes(),
        group=lambda example: example.row["lang"],
        notes=questions.notes,
    )


def _language_of(row: DatasetRow) -> str:
    return row["lang"]
