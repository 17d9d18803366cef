"""InfiniteBench: twelve tasks on texts of 100,000 tokens and more, from its files as they are released.

Each task reads its file (`longbook_qa_eng.jsonl` and the like) by itself or in a folder of all. Texts longer than the
model reads lose their middle, as in the original; how many is told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from herd.core.errors import DataError
from herd.core.settings import InputFile, NonNegativeInt, PositiveInt
from herd.evals.long_text import LongQuestion, LongTextMatch, Truncation, long_text_task
from herd.evals.rows import load_examples
from herd.evals.sized import SizedTask
from herd.evals.tasks import tasks
from herd.judge import long_text as scores

Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Subset:
    """One of the tasks. before, after: the words around the text, of a row's `input` and `options`. max_tokens: of an
    answer, as in the original."""

    file: str
    what: str
    before: str
    after: Callable[[Row], str]
    match: LongTextMatch
    max_tokens: int


def _input(row: Row) -> str:
    return f"\n\n{row['input']}"


def _asked(end: str) -> Callable[[Row], str]:
    return lambda row: f"\n\nQuestion: {row['input']}\n\n{end}"


def _choices(row: Row, question: str) -> str:
    listed = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", row["options"], strict=False))
    only = "Only one of the following options is correct. Answer with its letter (A, B, C or D) and nothing else."
    return f"\n\n{question}\n\n{only}\n{listed}"


def _call(row: Row) -> str:
    call = re.search(r"func_\d+\(-?\d+\)", row["input"])
    return (
        f"\n\nWhat is the exact return value of {call[0] if call else row['input']}? Be concise: the answer must end "
        "with that number."
    )


SUBSETS = {
    "passkey": _Subset(
        "passkey", "A number hidden in noise", "A lot of irrelevant text hides some important information. Find it and "
        "memorize it; you will be asked about it.\n\n", _input, scores.first_integer, 6,
    ),
    "number": _Subset(
        "number_string", "A long number hidden in noise", "A lot of irrelevant text hides some important information. "
        "Find it and memorize it; you will be asked about it.\n\n", _input, scores.first_integer, 12,
    ),
    "kv": _Subset(
        "kv_retrieval", "The value of a key in a large JSON object", "Find the value of a key in the JSON object "
        "below.\n\n", _input, scores.word_in_answer, 50,
    ),
    "en_sum": _Subset(
        "longbook_sum_eng", "The summary of a book", "Summarize the following book.\n\n", lambda row: "\n\nSummary:",
        scores.summary_rouge_l, 1200,
    ),
    "en_qa": _Subset(
        "longbook_qa_eng", "A question about a book", "Read the book and answer the question. Be very concise.\n\n",
        _asked("Answer:"), scores.qa_f1, 40,
    ),
    "en_mc": _Subset(
        "longbook_choice_eng", "A question about a book with four options", "Read the book and answer the "
        "question.\n\n", lambda row: _choices(row, f"Question: {row['input']}"), scores.option_letter, 40,
    ),
    "en_dia": _Subset(
        "longdialogue_qa_eng", "The name of a speaker in a long dialogue", "In the script below one name of a "
        'character is replaced by "$$MASK$$". Say who it is.\n\n',
        lambda row: '\n\nThe name that was replaced by "$$MASK$$" is likely', scores.name_in_answer, 40,
    ),
    "zh_qa": _Subset(
        "longbook_qa_chn", "A question about a Chinese book", "阅读以下书籍，然后回答问题。\n\n",  # noqa: RUF001
        lambda row: f"\n\n问题：{row['input']}\n\n请尽量简短地回答。答案：", scores.chinese_f1, 40,  # noqa: RUF001
    ),
    "code_debug": _Subset(
        "code_debug", "Which function of a project has an error", "One function of the following project has an "
        "obvious error that was put there. Find it.\n\n",
        lambda row: _choices(row, "Which function has the error?"), scores.option_letter, 5,
    ),
    "code_run": _Subset(
        "code_run", "What a chain of functions returns", "The following Python functions call each other.\n\n", _call,
        scores.last_integer, 5,
    ),
    "math_calc": _Subset(
        "math_calc", "All intermediate values of a long sum", "Compute the intermediate values of the following "
        "expression, after each operation, as a list of numbers.\n\n", _input, scores.leading_numbers, 30_000,
    ),
    "math_find": _Subset(
        "math_find", "The largest, smallest or such number of a long list", "", _input, scores.first_number, 3,
    ),
}  # fmt: skip


def _references(row: Row, subset: _Subset) -> list[str]:
    """What the scorer looks for: of options the right one's letter too."""
    answer = row["answer"]
    if isinstance(answer, str) and answer.startswith("[") and subset.file == "math_calc":
        answer = json.loads(answer)
    answers = list(map(str, answer)) if isinstance(answer, Sequence) and not isinstance(answer, str) else [str(answer)]
    if subset.match is scores.option_letter:
        options = list(map(str, row["options"]))
        if answers[0] not in options:
            raise DataError(f"the answer {answers[0][:60]!r} is none of the options; mend the row")
        return ["ABCD"[options.index(answers[0])], answers[0]]
    return answers


def _questions(data: str, subset: _Subset, limit: int) -> list[LongQuestion]:
    questions: list[LongQuestion] = []

    def read(row: Row) -> tuple[Row, str]:
        number = str(row.get("id", len(questions)))
        questions.append(
            LongQuestion(number, subset.before, row["context"], subset.after(row), tuple(_references(row, subset)))
        )
        return {}, ""

    load_examples(data, read, split=subset.file, limit=limit)
    if len({question.id for question in questions}) < len(questions):
        raise DataError(f"two rows of {subset.file} have one id; mend the file")
    return questions


def _add(name: str, subset: _Subset) -> None:
    def task(
        *, data: InputFile, limit: NonNegativeInt = 0, truncate: Truncation = "middle",
        max_prompt_tokens: NonNegativeInt = 0, max_tokens: PositiveInt = subset.max_tokens,
    ) -> SizedTask:  # fmt: skip
        return long_text_task(
            _questions(data, subset, limit), subset.match, max_tokens=max_tokens, truncation=truncate,
            max_prompt_tokens=max_prompt_tokens,
        )  # fmt: skip

    task.__name__ = task.__qualname__ = f"infinitebench_{name}"
    task.__doc__ = f"""{subset.what}.

    data: {subset.file}.jsonl as it is released, or a folder of all such files. truncate: what of texts that are too
    long is left out. max_prompt_tokens: that a prompt may take; all that the model reads when 0. Llama 3 answers
    questions about books in 20 tokens. Differs: the question is never cut, and prompts are worded anew.
    Source: Zhang et al. 2024 (InfiniteBench); Llama 3, 5.2.6.
    """
    tasks.add(task)


for _name, _subset in SUBSETS.items():
    _add(_name, _subset)
