"""MassiveText's rules for quality and repetition."""

from __future__ import annotations

from herd.core.settings import NonNegativeInt, Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats

# ---- quality ----


@filters.add
def word_count(stats: Stats, *, at_least: NonNegativeInt = 50, at_most: NonNegativeInt = 100_000) -> Drops:
    """Drops documents with too few or too many words. Source: Rae et al. 2021, table A1."""
    return (stats.plain_words < at_least) | (stats.plain_words > at_most)


@filters.add
def mean_word_length(stats: Stats, *, at_least: float = 3.0, at_most: float = 10.0) -> Drops:
    """Drops documents whose words are too short or too long on average. Source: Rae et al. 2021, table A1."""
    characters, words = stats.plain_characters, stats.plain_words
    return (characters < at_least * words) | (characters > at_most * words)


@filters.add
def symbols(stats: Stats, *, at_most: Share = 0.1) -> Drops:
    """Drops documents with many hashes or ellipses per word. Source: Rae et al. 2021, table A1."""
    return (stats.hashes > at_most * stats.words) | (stats.ellipses > at_most * stats.words)


@filters.add
def bullets(stats: Stats, *, at_most: Share = 0.9) -> Drops:
    """Drops documents that are nearly all bullet points. Source: Rae et al. 2021, table A1."""
    return stats.bullet_lines > at_most * stats.all_lines


@filters.add
def ellipses(stats: Stats, *, at_most: Share = 0.3) -> Drops:
    """Drops documents in which many lines break off. Source: Rae et al. 2021, table A1."""
    return stats.ellipsis_lines > at_most * stats.all_lines


@filters.add
def few_alphabetic_words(stats: Stats, *, at_least: Share = 0.8, punctuation: bool = True) -> Drops:
    """Drops documents in which too few words hold a letter.

    punctuation: whether marks count as words without one, as datatrove counts; the paper does not say.
    Source: Rae et al. 2021, table A1.
    """
    return stats.alpha_words < at_least * (stats.words if punctuation else stats.plain_words)


@filters.add
def stop_words(stats: Stats, *, at_least: NonNegativeInt = 2, distinct: bool = True) -> Drops:
    """Drops documents with too few stop words of their language.

    distinct: whether different ones count, as in the paper, or all uses, as DCLM counts.
    Source: Rae et al. 2021, table A1; Li et al. 2024, content filters. Differs: other languages than
    English have a list of their own, and documents in a language without one pass.
    """
    count = stats.stop_words if distinct else stats.stop_word_uses
    return (count < at_least) & _has_stop_words(stats)


def _has_stop_words(stats: Stats) -> Drops:
    import numpy as np

    from herd.corpus.characters import LANGUAGES

    return np.isin(stats.language, [*LANGUAGES, "und"])


# ---- repetition ----


@filters.add
def repeated_lines(stats: Stats, *, at_most: Share = 0.3, characters: Share = 0.2) -> Drops:
    """Drops documents that say the same lines again. Source: Rae et al. 2021, table A1."""
    return (stats.repeated_lines > at_most * stats.split_lines) | (
        stats.repeated_line_characters > characters * stats.characters
    )


@filters.add
def repeated_paragraphs(stats: Stats, *, at_most: Share = 0.3, characters: Share = 0.2) -> Drops:
    """Drops documents that say the same paragraphs again. Source: Rae et al. 2021, table A1."""
    return (stats.repeated_paragraphs > at_most * stats.paragraphs) | (
        stats.repeated_paragraph_characters > characters * stats.characters
    )


@filters.add
def top_ngrams(stats: Stats, *, of_2: Share = 0.2, of_3: Share = 0.18, of_4: Share = 0.16) -> Drops:
    """Drops documents in which one n-gram of two to four words takes too much room.

    Source: Rae et al. 2021, table A1.
    """
    return (
        (stats.top_2 > of_2 * stats.characters)
        | (stats.top_3 > of_3 * stats.characters)
        | (stats.top_4 > of_4 * stats.characters)
    )


@filters.add
def repeated_ngrams(
    stats: Stats,
    *,
    of_5: Share = 0.15,
    of_6: Share = 0.14,
    of_7: Share = 0.13,
    of_8: Share = 0.12,
    of_9: Share = 0.11,
    of_10: Share = 0.10,
) -> Drops:
    """Drops documents of which too much stands in n-grams of five to ten words that stood before.

    Source: Rae et al. 2021, table A1.
    """
    limits = (of_5, of_6, of_7, of_8, of_9, of_10)
    repeated_characters = (
        stats.repeated_5,
        stats.repeated_6,
        stats.repeated_7,
        stats.repeated_8,
        stats.repeated_9,
        stats.repeated_10,
    )
    drops = stats.repeated_5 > limits[0] * stats.characters
    for repeated, limit in zip(repeated_characters[1:], limits[1:], strict=True):
        drops = drops | (repeated > limit * stats.characters)
    return drops
