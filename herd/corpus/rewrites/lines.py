"""Rules that take single lines out."""

from __future__ import annotations

import ctypes

import numpy as np

from herd.core.settings import Count, Positive, Share
from herd.corpus.kernels import Packed, Result, pointer
from herd.corpus.rewrites import Rewritten, rewrites
from herd.corpus.stats import EDITED


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
    texts: Packed,
    *,
    min_words: Count = 3,
    longest_word: Count = 1000,
    ended_only: bool = True,
    javascript: bool = True,
    policies: bool = True,
    citations: bool = True,
) -> Rewritten:
    """Takes out lines that are no sentences, or are about scripts and cookies; and marks of citation.

    FineWeb leaves ended_only out: it alone costs 30 % of the tokens.
    Source: Raffel et al. 2020, 2.2.
    """
    rules = _Rules(min_words, longest_word, ended_only, javascript, policies, citations)
    return _cleaned(texts, rules)


@rewrites.add
def refinedweb_lines(
    texts: Packed,
    *,
    uppercase: Share = 0.5,
    numbers: bool = True,
    counters: bool = True,
    calls: bool = True,
    min_words: Count = 2,
) -> Rewritten:
    """Takes out lines of capitals, of digits, of one word, counters (`3 likes`) and calls (`Read more...`).

    Source: Penedo et al. 2023 (RefinedWeb), G.2.
    """
    rules = _Rules(min_words=min_words, uppercase_percent=round(100 * uppercase), numbers=numbers)
    rules.counters, rules.calls = counters, calls
    return _cleaned(texts, rules)


@rewrites.add
def covered_lines(texts: Packed, *, at_most: Share = 0.8, run: Positive = 5) -> Rewritten:
    """Takes out lines made of runs of words that the document repeats, such as those of logs.

    Their numbers differ, so no line equals another; words without a letter count as one.
    Source: Llama 3, 3.1.1, duplicated n-gram coverage, which gives neither n nor threshold: ours.
    """
    return _cleaned(texts, _Rules(covered_percent=max(1, round(100 * at_most)), covered_run=run))


def _cleaned(texts: Packed, rules: _Rules) -> Rewritten:
    edits = np.zeros((texts.count, len(EDITED)))
    with Result("herd_clean_lines", texts, ctypes.byref(rules), pointer(edits)) as made:
        return Rewritten(made.texts(), edits)
