"""Rules that take single lines out."""

from __future__ import annotations

import ctypes

import numpy as np

from herd.core.settings import NonNegativeInt, PositiveInt, Share
from herd.corpus.kernels import KernelResult, PackedTexts, pointer
from herd.corpus.rewrites import RewriteResult, rewrites
from herd.corpus.stats import EDIT_STATS


class _Rules(ctypes.Structure):
    """As the kernels take them."""

    _fields_ = tuple(
        (name, ctypes.c_int32)
        for name in (
            *("min_words", "longest_word", "ended_only", "javascript", "policies", "citations"),
            *("uppercase_percent", "numbers", "counters", "calls", "covered_percent", "covered_run"),
        )
    )


@rewrites.add
def c4_lines(
    texts: PackedTexts,
    *,
    min_words: NonNegativeInt = 3,
    max_word_length: NonNegativeInt = 1000,
    terminal_punctuation: bool = True,
    javascript: bool = True,
    policies: bool = True,
    citations: bool = True,
) -> RewriteResult:
    """Takes out lines that are no sentences, or are about scripts and cookies; and marks of citation.

    FineWeb leaves terminal_punctuation out: it alone costs 30 % of the tokens.
    Source: Raffel et al. 2020, 2.2.
    """
    rules = _Rules(min_words, max_word_length, terminal_punctuation, javascript, policies, citations)
    return _clean_lines(texts, rules)


@rewrites.add
def refinedweb_lines(
    texts: PackedTexts,
    *,
    uppercase: Share = 0.5,
    numbers: bool = True,
    counters: bool = True,
    calls: bool = True,
    min_words: NonNegativeInt = 2,
) -> RewriteResult:
    """Takes out lines of capitals, of digits, of one word, counters (`3 likes`) and calls (`Read more...`).

    Source: Penedo et al. 2023 (RefinedWeb), G.2.
    """
    rules = _Rules(min_words=min_words, uppercase_percent=round(100 * uppercase), numbers=numbers)
    rules.counters, rules.calls = counters, calls
    return _clean_lines(texts, rules)


@rewrites.add
def repeated_ngram_lines(texts: PackedTexts, *, at_most: Share = 0.8, n: PositiveInt = 5) -> RewriteResult:
    """Takes out lines made of n-grams that the document repeats, such as those of logs.

    Their numbers differ, so no line equals another; words without a letter count as one.
    Source: Llama 3, 3.1.1, duplicated n-gram coverage, which gives neither n nor threshold: ours.
    """
    return _clean_lines(texts, _Rules(covered_percent=max(1, round(100 * at_most)), covered_run=n))


def _clean_lines(texts: PackedTexts, rules: _Rules) -> RewriteResult:
    edits = np.zeros((texts.count, len(EDIT_STATS)))
    with KernelResult("herd_clean_lines", texts, ctypes.byref(rules), pointer(edits)) as result:
        return RewriteResult(result.texts(), edits)
