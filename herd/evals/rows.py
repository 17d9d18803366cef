"""Examples of a task from files of a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from herd.core.errors import DataError
from herd.core.rowfiles import RowError, iter_rows
from herd.core.settings import input_path
from herd.evals.task import Example

ROW_SUFFIXES = (".jsonl", ".json", ".parquet", ".csv", ".tsv")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")

DatasetRow = Mapping[str, Any]


def files_of(data: str, split: str = "") -> list[Path]:
    """The files of rows that a setting names: a file, or those in a folder, as in a data set on the Hub.

    split: only files, or files in folders, whose names begin so. Raises DataError when there is none.
    """
    place = input_path(data)
    if not place.is_dir():
        return [place]
    files = [
        file for file in sorted(place.rglob("*")) if _holds_rows(file) and _in_split(file.relative_to(place), split)
    ]
    if not files:
        raise DataError(
            f"{place} holds no file of rows{f' of split {split!r}' if split else ''}; herd reads {_SUFFIX_LIST}"
        )
    return files


def _holds_rows(file: Path) -> bool:
    uncompressed = file.with_suffix("") if file.suffix in _COMPRESSED else file
    return file.is_file() and uncompressed.suffix in ROW_SUFFIXES


def _in_split(file: Path, split: str) -> bool:
    """Whether the file, or a folder on the way to it, has a name that begins with the split's."""
    return any(part.startswith(split) for part in file.parts)


_SUFFIX_LIST = ", ".join(ROW_SUFFIXES)


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
        for number, row in iter_rows(file):
            if limit and len(examples) == limit:
                return examples
            where = f"{file.name}, row {number}"
            if isinstance(row, RowError):
                raise DataError(f"{where}: {row}; mend it")
            if not isinstance(row, Mapping):
                raise DataError(f"{where} is a {type(row).__name__}; write an object of columns")
            try:
                fields, target = make(row)
            except KeyError as fault:
                columns = ", ".join(map(str, row))
                raise DataError(f"{where} has no column {fault}; it has {columns}: name the right one") from None
            examples.append(Example(f"{file.name}/{number}", fields, target))
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
