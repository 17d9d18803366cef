"""MassiveText's rules for quality and repetition."""

from __future__ import annotations

from herd.core.settings import Count, Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats


@filters.add
def word_count(stats: Stats, *, at_least: Count = 50, at_most: Count = 100_000) -> Drops:
    """Drops documents with too few or too many words. Source: Rae et al. 2021, table A1."""
    return (stats.words < at_least) | (stats.words > at_most)


@filters.add
def word_length(stats: Stats, *, at_least: float = 3.0, at_most: float = 10.0) -> Drops:
    """Drops documents whose words are too short or too long on average. Source: Rae et al. 2021, table A1."""
    return (stats.word_characters < at_least) | (stats.word_characters > at_most)


@filters.add
def symbols(stats: Stats, *, at_most: Share = 0.1) -> Drops:
    """Drops documents with many hashes or ellipses per word. Source: Rae et al. 2021, table A1."""
    return (stats.hashes > at_most * stats.words) | (stats.ellipses > at_most * stats.words)


@filters.add
def bullets(stats: Stats, *, at_most: Share = 0.9) -> Drops:
    """Drops documents that are nearly all bullet points. Source: Rae et al. 2021, table A1."""
    return stats.bullet_lines > at_most * stats.lines


@filters.add
def ellipses(stats: Stats, *, at_most: Share = 0.3) -> Drops:
    """Drops documents in which many lines break off. Source: Rae et al. 2021, table A1."""
    return stats.ellipsis_lines > at_most * stats.lines


@filters.add
def few_alphabetic_words(stats: Stats, *, at_least: Share = 0.8) -> Drops:
    """Drops documents in which too few words hold a letter. Source: Rae et al. 2021, table A1."""
    return stats.letters < at_least * stats.words


@filters.add
def stop_words(stats: Stats, *, at_least: Count = 2) -> Drops:
    """Drops documents with too few different stop words. Source: Rae et al. 2021, table A1."""
    return stats.stop_words < at_least


@filters.add
def repeated_lines(stats: Stats, *, at_most: Share = 0.3, characters: Share = 0.2) -> Drops:
    """Drops documents that say the same lines again. Source: Rae et al. 2021, table A1."""
    return (stats.repeated_lines > at_most * stats.lines) | (stats.repeated_characters > characters * stats.characters)


@filters.add
def repeated_words(stats: Stats, *, pairs: Share = 0.2, triples: Share = 0.18) -> Drops:
    """Drops documents in which one word pair or triple takes too much room. Source: Rae et al. 2021, table A1."""
    return (stats.top_pair > pairs * stats.characters) | (stats.top_triple > triples * stats.characters)
