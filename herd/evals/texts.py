"""Texts of a user's own, such as the essays that a needle is hidden in, and the sentences they are made of."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path

from herd.core.cache import fetch_package
from herd.core.errors import DataError
from herd.core.rowfiles import ROW_SUFFIXES, RowError, iter_rows
from herd.core.settings import input_path

TEXT_SUFFIXES = (".txt", ".md")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
# Common English words by part of speech; MIT licence. Source: the lists that RULER draws its words from.
_WORD_PACKAGE = ("wonderwords", "3.0.1", "4dd66deb6a76ca9e0b0422d1d3e111f9b910d7c16922d42de733ee8def98f8d0")
_WORD_FILES = {"noun": "nounlist.txt", "adjective": "adjectivelist.txt", "verb": "verblist.txt"}


def read_texts(data: str, column: str = "text") -> list[str]:
    """The texts that a setting names: a file `.txt` or `.md`, those in a folder, or a column of files of rows.

    Raises DataError where there is none, or one is no UTF-8.
    """
    place = input_path(data)
    if place.is_dir():
        files = [file for file in sorted(place.rglob("*")) if file.suffix in (*TEXT_SUFFIXES, *ROW_SUFFIXES)]
    else:
        files = [place]
    texts = list(chain.from_iterable(_texts_in(file, column) for file in files))
    if not any(text.strip() for text in texts):
        raise DataError(f"{place} holds no text; name a file {', '.join(TEXT_SUFFIXES)}, a folder of them, or rows")
    return texts


def _texts_in(file: Path, column: str) -> list[str]:
    if file.suffix in TEXT_SUFFIXES:
        try:
            return [file.read_text(encoding="utf-8")]
        except UnicodeDecodeError as fault:
            raise DataError(f"{file}: not UTF-8 at byte {fault.start}; save it as UTF-8") from None
        except OSError as fault:
            raise DataError(f"{file} cannot be read ({fault.strerror}); name a file of text") from None
    texts = []
    for number, row in iter_rows(file):
        if isinstance(row, RowError):
            raise DataError(f"{file}, row {number}: {row}; mend it")
        if not isinstance(row, dict) or not isinstance(row.get(column), str):
            raise DataError(f"{file}, row {number} has no text under {column!r}; name the column that holds it")
        texts.append(row[column])
    return texts


def split_sentences(texts: Sequence[str]) -> list[str]:
    """The sentences of all texts in order, spaces and line ends of any length made one space."""
    parts = chain.from_iterable(map(_SENTENCE.split, (" ".join(text.split()) for text in texts)))
    return [part for part in parts if part]


def read_words(file: str) -> list[str]:
    """The words of a file, one a line, each once, in order. Raises DataError where there are fewer than 100."""
    lines = (line.strip() for line in chain.from_iterable(map(str.splitlines, _texts_in(input_path(file), "text"))))
    words = list(dict.fromkeys(line for line in lines if line and " " not in line))
    if len(words) < 100:
        raise DataError(f"{input_path(file)} holds {len(words)} words; name a file of at least 100, one a line")
    return words


@cache
def english_words(part: str) -> tuple[str, ...]:
    """Common English words that are a `noun`, an `adjective` or a `verb`, in order.

    Raises DataError where the package that has them was never fetched and there is no network.
    """
    with zipfile.ZipFile(fetch_package(*_WORD_PACKAGE)) as wheel:
        lines = wheel.read(f"wonderwords/assets/{_WORD_FILES[part]}").decode().splitlines()
    return tuple(sorted({line.strip() for line in lines if line.strip()}))
