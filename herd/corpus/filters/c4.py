"""C4's rules for whole pages. Those for lines are in rewrites/lines.py; what they met counts here."""

from __future__ import annotations

from herd.core.settings import NonNegativeInt, Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats


@filters.add
def lorem_ipsum(stats: Stats) -> Drops:
    """Drops pages with the typesetters' dummy text. Source: Raffel et al. 2020, 2.2."""
    return (stats.lorem > 0) | (stats.lorem_met > 0)


@filters.add
def curly_braces(stats: Stats, *, at_most: NonNegativeInt = 0) -> Drops:
    """Drops pages with curly braces, which are program text mostly. Source: Raffel et al. 2020, 2.2."""
    return (stats.braces > at_most) | (stats.braces_met > at_most)


@filters.add
def few_sentences(stats: Stats, *, at_least: NonNegativeInt = 5) -> Drops:
    """Drops pages with too few sentences on the lines that C4's rules leave. Source: Raffel et al. 2020, 2.2."""
    sentences = stats.line_sentences * (stats.lines_in > 0) + stats.sentences * (stats.lines_in == 0)
    return sentences < at_least


@filters.add
def long_paragraphs(stats: Stats, *, at_least: NonNegativeInt = 3) -> Drops:
    """Drops pages with too few lines of 200 characters or more. Source: Xue et al. 2021 (mC4), 3.1."""
    return stats.long_lines < at_least


@filters.add
def dirty_words(stats: Stats, *, at_most: NonNegativeInt = 2, share: Share = 0.005) -> Drops:
    """Drops pages with more dirty words than `at_most`, or a larger share of them than `share`.

    The words come from the list that `curate.dirty_words` names.
    Source: Raffel et al. 2020, 2.2, who drop at the first; Llama 3, 3.1.1, which gives no number: ours.
    """
    return (stats.dirty_words > at_most) | (stats.dirty_words > share * stats.plain_words)
