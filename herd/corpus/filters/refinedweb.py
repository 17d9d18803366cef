"""Traces of pages that are not text for reading."""

from __future__ import annotations

from herd.core.settings import Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats


@filters.add
def uppercase_words(stats: Stats, *, at_most: Share = 0.2) -> Drops:
    """Drops documents with many words in capitals.

    Source: the upper-case rule for lines of RefinedWeb (Penedo et al. 2023, G.2). Differs: by words of the
    whole document.
    """
    return stats.uppercase_words > at_most * stats.words


@filters.add
def removed_words(stats: Stats, *, at_most: Share = 0.05) -> Drops:
    """Drops documents that lost more words than this to rules for lines.

    Source: Penedo et al. 2023 (RefinedWeb), G.2.
    """
    return (stats.words_in - stats.words_out) > at_most * stats.words_in
