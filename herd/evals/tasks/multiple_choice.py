"""Questions with choices, of which one is right, from a file of a user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from herd.core.errors import DataError
from herd.core.settings import Count, InputFile
from herd.evals.rows import Row, examples, shots_of, text_in
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
    form: Literal["letters", "text"] = "letters",
    normalize: Literal["none", "characters", "tokens"] = "none",
    shots: Count = 0,
    limit: Count = 0,
) -> Task:
    """Questions of a file whose likeliest choice is right; MMLU's and ARC's rows and the like.

    data: a file or folder of rows. question, choices, answer: their columns: of choices one that holds a list (or ARC's
    `text` and `label`), or several; of the answer its number from 0, its letter or label, or its very text. form:
    whether the choices are listed and their letters compared, or their texts. shots: of the rows, how many are shown
    with their answers before each question; they are not asked.
    Source: lm-evaluation-harness, `multiple_choice`; Hendrycks et al. 2021 (MMLU).
    """

    def columns(row: Row) -> tuple[Row, str]:
        texts, labels = _choices(row, choices)
        right = _number(row[answer], texts, labels)
        said = [f" {letter}" for letter in LETTERS[: len(texts)]] if form == "letters" else [f" {one}" for one in texts]
        listed = "".join(f"\n{letter}. {one}" for letter, one in zip(LETTERS, texts, strict=False))
        asked = text_in(row, question).strip() + (listed if form == "letters" else "")
        return {"asked": f"{asked}\nAnswer:", "choices": said}, said[right]

    shown, asked = shots_of(examples(data, columns, split=split, limit=limit + shots if limit else 0), shots)
    before = "".join(f"{one.row['asked']}{one.target}\n\n" for one in shown)

    def put(example: Example) -> str:
        return before + example.row["asked"]

    return Task(asked, put, LogLikelihood(lambda example: example.row["choices"], normalize))


def _choices(row: Row, columns: str | tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The choices and what they are called."""
    if isinstance(columns, tuple):
        texts = [text_in(row, one) for one in columns]
        return texts, list(columns)
    listed = row[columns]
    if isinstance(listed, dict):  # ARC's
        return list(map(str, listed["text"])), list(map(str, listed["label"]))
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise DataError(f"the column {columns!r} holds no list of choices; name one that does, or a column for each")
    return list(map(str, listed)), list(LETTERS[: len(listed)])


def _number(answer: object, texts: Sequence[str], labels: Sequence[str]) -> int:
    """Which choice is right. Raises DataError when the answer names none."""
    text = str(answer).strip()
    for known in (labels, list(LETTERS[: len(texts)]), texts):
        if text in known:
            return list(known).index(text)
    if text.isdigit() and int(text) < len(texts):
        return int(text)
    raise DataError(f"the answer {text[:60]!r} is none of {len(texts)} choices; give a number from 0, a letter or text")
