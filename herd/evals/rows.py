"""Examples of a task from files of a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from herd.core.errors import DataError
from herd.core.rowfiles import RowError, iter_rows, row_files
from herd.core.settings import input_place
from herd.evals.task import Example

DatasetRow = Mapping[str, Any]


def files_of(data: str, split: str = "") -> list[str]:
    """The files of rows that a setting names: a file or an address, or those in a folder, as in a data set on the Hub.

    split: only files, or files in folders, whose names begin so. Raises DataError when there is none.
    """
    return row_files(input_place(data), split)


def load_examples(
    data: str, make: Callable[[DatasetRow], tuple[DatasetRow, str]], *, split: str = "", limit: int = 0
) -> list[Example]:
    """An example of every row, called by its file and line. make: gives what an example holds of a row, and its target.
    limit: how many of the first; all when 0.

    Raises DataError for a row that cannot be read or that `make` cannot use: an example left out in silence would
    change the score.
    """
    examples: list[Example] = []
    for file in files_of(data, split):
        name = file.rpartition("/")[2]
        for number, row in iter_rows(file):
            if limit and len(examples) == limit:
                return examples
            where = f"{name}, row {number}"
            if isinstance(row, RowError):
                raise DataError(f"{where}: {row}; mend it")
            if not isinstance(row, Mapping):
                raise DataError(f"{where} is a {type(row).__name__}; write an object of columns")
            try:
                fields, target = make(row)
            except KeyError as fault:
                columns = ", ".join(map(str, row))
                raise DataError(f"{where} has no column {fault}; it has {columns}: name the right one") from None
            examples.append(Example(f"{name}/{number}", fields, target))
    return examples


def text_in(row: DatasetRow, column: str) -> str:
    """A column as text. Raises KeyError where it is absent or empty."""
    value = row[column]
    if value is None or value == "":
        raise KeyError(column)
    return str(value)


def split_fewshot(examples: list[Example], num_fewshot: int) -> tuple[list[Example], list[Example]]:
    """The first `num_fewshot` to be shown, and the others to be asked. Raises DataError when none is left."""
    if num_fewshot >= len(examples):
        raise DataError(
            f"{num_fewshot} of {len(examples)} examples are to be shown, which leaves none to ask; show fewer"
        )
    return examples[:num_fewshot], examples[num_fewshot:]
