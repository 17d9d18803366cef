"""One pass that measures documents, so that many rules can judge them without reading them again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Texts = NDArray[np.str_]

# Gopher asks for English; these are the words of the same use in the other two languages of `tiny`.
STOP_WORDS = {
    "en": frozenset("the be to of and that have with".split()),
    "de": frozenset("der die das und ist mit zu nicht".split()),
    "es": frozenset("el la de que y en los con".split()),
}
_WORD = re.compile(r"\S+")
_SENTENCE_END = (".", "?", "!", '"', "'", "”", "。")
_BULLETS = ("•", "-", "*", "‣", "◦")
_DEBRIS = ("lorem ipsum", "javascript", "cookie", "terms of use", "privacy policy")


@dataclass(frozen=True)
class Stats:
    """What was measured, one entry a document in every column.

    words: runs of non-space. letters: words with a letter in them. word_characters: their mean length.
    bullet_lines, ellipsis_lines, ended_lines, short_lines: lines (non-empty) that start with a bullet, end
    with an ellipsis, end a sentence, have at most 30 characters. repeated_lines: lines equal to an earlier
    one, and repeated_characters: what they hold. top_pair, top_triple: characters inside the most frequent
    word pair and triple. stop_words: different ones. shouting: words all in capitals.
    language: an ISO 639-1 code, `und` where none was recognised.
    """

    characters: Numbers
    words: Numbers
    letters: Numbers
    word_characters: Numbers
    hashes: Numbers
    ellipses: Numbers
    lines: Numbers
    bullet_lines: Numbers
    ellipsis_lines: Numbers
    ended_lines: Numbers
    short_lines: Numbers
    repeated_lines: Numbers
    repeated_characters: Numbers
    top_pair: Numbers
    top_triple: Numbers
    stop_words: Numbers
    shouting: Numbers
    debris: Numbers
    braces: Numbers
    language: Texts


def measure(texts: Sequence[str]) -> Stats:
    """The statistics of `texts`, in their order."""
    rows = [_measure_one(text) for text in texts]
    columns = {name: np.array([row[name] for row in rows], np.float64) for name in _NUMBERS}
    return Stats(**columns, language=np.array([language(text) for text in texts], dtype=np.str_))


_NUMBERS = [field.name for field in fields(Stats) if field.name != "language"]


def _measure_one(text: str) -> dict[str, float]:
    words = _WORD.findall(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lower = text.lower()
    repeats = _repeats(lines)
    bare = [word.strip(".,;:!?\"'()[]").lower() for word in words]
    return {
        "characters": len(text),
        "words": len(words),
        "letters": sum(any(c.isalpha() for c in word) for word in words),
        "word_characters": sum(map(len, words)) / max(1, len(words)),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "lines": len(lines),
        "bullet_lines": sum(line.startswith(_BULLETS) for line in lines),
        "ellipsis_lines": sum(line.endswith(("...", "…")) for line in lines),
        "ended_lines": sum(line.endswith(_SENTENCE_END) for line in lines),
        "short_lines": sum(len(line) <= 30 for line in lines),
        "repeated_lines": len(repeats),
        "repeated_characters": sum(map(len, repeats)),
        "top_pair": _top_characters(bare, 2),
        "top_triple": _top_characters(bare, 3),
        "stop_words": max(len(found & set(bare)) for found in STOP_WORDS.values()),
        "shouting": sum(word.isupper() and len(word) > 1 for word in words),
        "debris": sum(lower.count(phrase) for phrase in _DEBRIS),
        "braces": text.count("{"),
    }


def _repeats(lines: list[str]) -> list[str]:
    """The lines that stood before already."""
    seen: set[str] = set()
    repeats = []
    for line in lines:
        if line in seen:
            repeats.append(line)
        seen.add(line)
    return repeats


def _top_characters(words: list[str], n: int) -> int:
    """Characters inside the most frequent run of `n` words. Source: Rae et al. 2021, A1.1."""
    runs = Counter(zip(*(words[start:] for start in range(n)), strict=False))
    if not runs:
        return 0
    run, count = max(runs.items(), key=lambda item: (item[1] * sum(map(len, item[0])), item[0]))
    return count * sum(map(len, run)) if count > 1 else 0


def language(text: str) -> str:
    """The ISO 639-1 code of the language most of `text` is in."""
    return _detector()(text[:2000]) if text else "und"


@cache
def _detector():  # noqa: ANN202 - the library has no types
    import eldc

    eldc.init()
    return eldc.detect
