"""A look at the first rows of a user's files while a run is planned: a wrong column costs no hours then."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import replace

from herd.core.errors import DataError, SettingsError
from herd.corpus.columns import TextColumns, is_without_text
from herd.corpus.pages import Page
from herd.corpus.reading import FileSpan, printable, read_pages

_ROWS = 8
_MOST_FILES = 20  # that are looked into; of more, rows without a text are told by the run
_NAMES = re.compile(r"(?:; it has |the columns are )(.*?)(?: and \d+ more)?$")


def check_text_columns(files: Sequence[str], source: str, columns: TextColumns) -> None:
    """Raises SettingsError where the files of a source are all empty, or are tables of which none has a text in the
    columns named, with the columns that have one. Files at addresses are left to the run."""
    if any("://" in file for file in files):
        return
    if all(os.path.getsize(file) == 0 for file in files):
        raise SettingsError(f"source {source}: {printable(files[0])} is empty; name a file that holds text")
    if len(files) > _MOST_FILES:
        return
    faulty: FileSpan | None = None
    names = ""
    for file in files:
        span = FileSpan(file, source, columns=columns)
        pages = _first_pages(span)
        if not pages or not all(is_without_text(page.fault) for page in pages):
            return
        if faulty is None and (match := _NAMES.search(pages[0].fault)):
            faulty, names = span, match[1]
    if faulty is None:  # rows that have the column, and nothing in it: the run says how many
        return
    best = _with_text(faulty, names.split(", "))
    example = best[0] if best else "NAME"
    which = f"; {' and '.join(best)} {'has' if len(best) == 1 else 'have'} text" if best else ""
    raise SettingsError(
        f"source {source}: the first rows of {printable(faulty.name)} have no text in the column `{columns.text}`; "
        f"they have {names}{which}: give --text-column {example}, or in a recipe "
        f"`columns: {{{source}: {{text: {example}}}}}`"
    )


def _first_pages(span: FileSpan) -> list[Page]:
    """None for a file that cannot be read, of which the run says why."""
    try:
        return list(itertools.islice(read_pages(span), _ROWS))
    except (DataError, OSError):
        return []


def _with_text(span: FileSpan, names: Sequence[str]) -> list[str]:
    """The columns that hold a text, the longest first."""
    lengths: dict[str, int] = {}
    for name in names:
        pages = _first_pages(replace(span, columns=replace(span.columns, text=name)))
        if length := sum(len(page.body) for page in pages):
            lengths[name] = length
    return sorted(lengths, key=lambda name: -lengths[name])[:3]
