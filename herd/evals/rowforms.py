"""Forms of rows that several benchmarks share. Every converter gives `question`, `choices` and `gold`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from herd.evals.datasets import DatasetRow, RowForm

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def gold_of(answer: Any, labels: Sequence[str]) -> int:
    """The number of the right choice: of its label, or of its letter or number from 1 where labels are others. Raises
    ValueError for an answer that names none."""
    text = str(answer).strip()
    for names in (list(map(str, labels)), _LETTERS[: len(labels)], [f"{n}" for n in range(1, len(labels) + 1)]):
        if text and text in names:
            return list(names).index(text)
    raise ValueError(f"the answer {text[:40]!r} is none of {', '.join(map(str, labels))}")


def check_gold(row: DatasetRow) -> DatasetRow:
    """The row. Raises ValueError where its right choice is none of its choices."""
    if not 0 <= int(row["gold"]) < len(row["choices"]):
        raise ValueError(f"the answer {row['gold']} is none of {len(row['choices'])} choices, numbered from 0")
    return row


def with_own_id(row: DatasetRow, name: str, converted: dict[str, Any]) -> dict[str, Any]:
    """The converted row with the id that the release gave it under `name`, where it did."""
    return {"id": str(row[name]), **converted} if row.get(name) not in (None, "") else converted


def labelled_choices(question: str) -> RowForm:
    """Of the Hub: `choices` with `text` and `label`, and `answerKey`. question: the column."""

    def convert(row: DatasetRow, file: str) -> DatasetRow:
        texts, labels = row["choices"]["text"], row["choices"]["label"]
        gold = gold_of(row["answerKey"], labels)
        return with_own_id(row, "id", {"question": row[question], "choices": list(texts), "gold": gold})

    return RowForm((question, "choices", "answerKey"), convert)


def _stem_and_choices(row: DatasetRow, file: str) -> DatasetRow:
    question = row["question"]
    texts = [choice["text"] for choice in question["choices"]]
    gold = gold_of(row["answerKey"], [choice["label"] for choice in question["choices"]])
    return with_own_id(row, "id", {"question": question["stem"], "choices": texts, "gold": gold})


# Of the Allen Institute's releases (ARC, OpenBookQA) and of CommonsenseQA's: `question` holds `stem` and `choices`.
STEM_FORM = RowForm(("question", "answerKey"), _stem_and_choices)


def query_form(prefix: str = "") -> RowForm:
    """Of llm-foundry's gauntlet: `query`, `choices` and `gold`. prefix: what the query begins with and is left out."""

    def convert(row: DatasetRow, file: str) -> DatasetRow:
        question = row["query"].removeprefix(prefix).strip()
        return check_gold({"question": question, "choices": list(row["choices"]), "gold": row["gold"]})

    return RowForm(("query", "choices", "gold"), convert)


_LISTED = re.compile(r"(.*?)\nChoices:\n(.*)\nAnswer:\s*", re.DOTALL)


def listed_query_form(prefix: str) -> RowForm:
    """The same where the choices stand in the query, each in a line after its letter."""

    def convert(row: DatasetRow, file: str) -> DatasetRow:
        match = _LISTED.fullmatch(row["query"])
        if match is None:
            raise ValueError("the query has no lines `Choices:` and `Answer:`")
        texts = [line.partition(". ")[2] for line in match[2].split("\n")]
        return check_gold({"question": match[1].removeprefix(prefix), "choices": texts, "gold": row["gold"]})

    return RowForm(("query", "choices", "gold"), convert)
