"""Sentences and words as nltk cuts them, without its downloads."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

from herd.core.errors import SettingsError
from herd.core.extras import ExtraPackage, import_extra

_NLTK = ExtraPackage("nltk", "benchmarks", "counting sentences")
_FOLDER = Path("tokenizers", "punkt_tab", "english")
# The package that has nltk's data among its files; of it nothing is imported, so that nothing it needs has to be there.
_SHIPPED_BY = "llama_index.core"
_SHIPPED_FOLDER = Path("_static", "nltk_cache")


def sentence_count(text: str) -> int:
    """How many sentences nltk's Punkt tokenizer for English finds.

    Source: Kiss and Strunk 2006 (Punkt); IFEval, count_sentences. Raises SettingsError where nltk or Punkt are missing.
    """
    return len(_punkt().tokenize(text))


def word_tokens(text: str) -> list[str]:
    """The words and marks of all sentences, as nltk's `word_tokenize` gives them. Raises as `sentence_count`."""
    words = _word_tokenizer()
    return [word for sentence in _punkt().tokenize(text) for word in words.tokenize(sentence)]


@cache
def _punkt() -> Any:
    import_extra(_NLTK)
    punkt = importlib.import_module("nltk.tokenize.punkt")
    parameters, folder = punkt.PunktParameters(), punkt_folder()
    parameters.abbrev_types = set(_rows(folder / "abbrev_types.txt"))
    parameters.sent_starters = set(_rows(folder / "sent_starters.txt"))
    parameters.collocations = {tuple(row.split("\t")) for row in _rows(folder / "collocations.tab")}
    context = (row.split("\t") for row in _rows(folder / "ortho_context.tab"))
    parameters.ortho_context = defaultdict(int, {word: int(flags) for word, flags in context})
    return punkt.PunktSentenceTokenizer(parameters)


def _rows(file: Path) -> list[str]:
    """Without the line that ends the last one. A word may hold blanks and signs that Python too holds for line ends."""
    return file.read_text(encoding="utf-8").rstrip("\n").split("\n")


@cache
def _word_tokenizer() -> Any:
    import_extra(_NLTK)
    return importlib.import_module("nltk.tokenize.destructive").NLTKWordTokenizer()


def punkt_folder() -> Path:
    """Where Punkt's parameters for English lie: among nltk's own data, or among the files of llama-index-core.

    Raises SettingsError where they are in neither.
    """
    nltk = import_extra(ExtraPackage("nltk.data", "benchmarks", "counting sentences"))
    folders = [Path(folder) for folder in nltk.path if folder]
    try:
        shipped = importlib.util.find_spec(_SHIPPED_BY)
    except ModuleNotFoundError:
        shipped = None
    if shipped is not None:
        folders += [Path(folder) / _SHIPPED_FOLDER for folder in shipped.submodule_search_locations or ()]
    for folder in folders:
        if (folder / _FOLDER / "abbrev_types.txt").is_file():
            return folder / _FOLDER
    raise SettingsError(
        "counting sentences needs nltk's data punkt_tab: `pip install --no-deps llama-index-core==0.14.25`, which has "
        "it among its files, or `python -m nltk.downloader punkt_tab`"
    )
