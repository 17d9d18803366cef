"""Traces of pages that are not text for reading."""

from __future__ import annotations

from herd.core.settings import Count, Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats


@filters.add
def shouting(stats: Stats, *, at_most: Share = 0.2) -> Drops:
    """Drops documents with many words in capitals.

    Source: the upper-case rule for lines of RefinedWeb (Penedo et al. 2023, G.2). Differs: by words of the
    whole document.
    """
    return stats.shouting > at_most * stats.words


@filters.add
def debris(stats: Stats, *, at_most: Count = 3) -> Drops:
    """Drops documents full of lorem ipsum, cookie notices and policies.

    Source: Raffel et al. 2020, 2.2. Differs: C4 drops the lines, or the page at the first one.
    """
    return stats.debris > at_most
