"""Rules that FineWeb found by comparing good and bad crawls."""

from __future__ import annotations

from herd.core.settings import Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats


@filters.add
def punctuated_lines(stats: Stats, *, at_least: Share = 0.12) -> Drops:
    """Drops documents whose lines hardly ever end a sentence. Source: Penedo et al. 2024, 3.6."""
    return stats.punctuated_lines < at_least * stats.lines


@filters.add
def repeated_line_characters(stats: Stats, *, at_most: Share = 0.01) -> Drops:
    """Drops documents with much of their text in lines that stood before.

    Source: Penedo et al. 2024, table 2; their prose says 0.1, their table and code 0.01.
    """
    return stats.repeated_line_characters > at_most * (stats.characters - stats.newlines)


@filters.add
def short_lines(stats: Stats, *, at_most: Share = 0.67) -> Drops:
    """Drops documents made of short lines, such as menus. Source: Penedo et al. 2024, 3.6."""
    return stats.short_lines > at_most * stats.lines


@filters.add
def newlines(stats: Stats, *, at_most: Share = 0.3) -> Drops:
    """Drops documents with many line breaks per word, such as lists. Source: FineWeb's code, list_ratio."""
    return stats.newlines > at_most * stats.words
