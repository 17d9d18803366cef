"""Rules that FineWeb found by comparing good and bad crawls."""

from __future__ import annotations

from herd.core.settings import Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats


@filters.add
def short_lines(stats: Stats, *, at_most: Share = 0.67) -> Drops:
    """Drops documents made of short lines, such as menus. Source: Penedo et al. 2024, 3.6."""
    return stats.short_lines > at_most * stats.lines


@filters.add
def ended_lines(stats: Stats, *, at_least: Share = 0.12) -> Drops:
    """Drops documents whose lines hardly ever end a sentence. Source: Penedo et al. 2024, 3.6."""
    return stats.ended_lines < at_least * stats.lines
