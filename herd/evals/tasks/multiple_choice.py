"""Questions with choices, of which one is right, from a file of a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from herd.core.errors import DataError
from herd.core.settings import InputFile, NonNegativeInt
from herd.evals.rows import DatasetRow, load_examples, split_fewshot, text_in
from herd.evals.tasks import Example, LogLikelihood, Task, tasks

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@tasks.add
def multiple_choice(
    *,
    data: InputFile,
    split: str = "",
    question: str = "question",
    choices: str | tuple[str, ...] = "choices",
    answer: str = "answer",
    choice_format: Literal["letters", "text"] = "letters",
    normalize: Literal["none", "characters", "tokens"] = "none",
    num_fewshot: NonNegativeInt = 0,
    limit: NonNegativeInt = 0,
) -> Task:
    """Questions of a file whose likeliest choice is right; MMLU's and ARC's rows and the like.

    data: a file or folder of rows. question, choices, answer: their columns: of choices one that holds a list (or ARC's
    `text` and `label`), or several; of the answer its number from 0, its letter or label, or its very text.
    choice_format: whether the choices are listed and their letters compared, or their texts. num_fewshot: of the rows,
    how many are shown with their answers before each question; they are not asked.
    Source: lm-evaluation-harness, `multiple_choice`; Hendrycks et al. 2021 (MMLU).
    """

    def columns(row: DatasetRow) -> tuple[DatasetRow, str]:
        texts, labels = _choices(row, choices)
        right = _index_of(row[answer], texts, labels)
        continuations = (
            [f" {letter}" for letter in LETTERS[: len(texts)]]
            if choice_format == "letters"
            else [f" {text}" for text in texts]
        )
        listed = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, texts, strict=False))
        prompt = text_in(row, question).strip() + (listed if choice_format == "letters" else "")
        return {"prompt": f"{prompt}\nAnswer:", "choices": continuations}, continuations[right]

    fewshot, questions = split_fewshot(
        load_examples(data, columns, split=split, limit=limit + num_fewshot if limit else 0), num_fewshot
    )
    before = "".join(f"{shot.row['prompt']}{shot.target}\n\n" for shot in fewshot)

    def prompt_for(example: Example) -> str:
        return before + example.row["prompt"]

    return Task(questions, prompt_for, LogLikelihood(lambda example: example.row["choices"], normalize))


def _choices(row: DatasetRow, columns: str | tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The choices and what they are called."""
    if isinstance(columns, tuple):
        texts = [text_in(row, column) for column in columns]
        return texts, list(columns)
    listed = row[columns]
    if isinstance(listed, dict):  # ARC's
        return list(map(str, listed["text"])), list(map(str, listed["label"]))
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise DataError(f"the column {columns!r} holds no list of choices; name one that does, or a column for each")
    return list(map(str, listed)), list(LETTERS[: len(listed)])


def _index_of(answer: object, texts: Sequence[str], labels: Sequence[str]) -> int:
    """Which choice is right. Raises DataError when the answer names none."""
    text = str(answer).strip()
    for names in (labels, list(LETTERS[: len(texts)]), texts):
        if text in names:
            return list(names).index(text)
    if text.isdigit() and int(text) < len(texts):
        return int(text)
    raise DataError(f"the answer {text[:60]!r} is none of {len(texts)} choices; give a number from 0, a letter or text")
