"""Pages of program text and of mathematics, to gather them or to leave them out."""

from __future__ import annotations

from herd.core.settings import NonNegativeInt, Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import StatColumn, Stats


def code_share(stats: Stats) -> StatColumn:
    """The share of lines that look like program text, 0 to 1; 0 for a text without lines."""
    return stats.code_lines / stats.lines.clip(1)


def formula_rate(stats: Stats) -> StatColumn:
    """Formulas in TeX for every hundred words; eight signs of Unicode count as a formula."""
    return 100 * (stats.formulas + stats.mathematical_signs / 8) / stats.plain_words.clip(1)


@filters.add
def not_code(stats: Stats, *, at_least: Share = 0.1) -> Drops:
    """Drops documents of which fewer lines look like program text.

    Source: Llama 3, 3.1.1, which gathers pages of code beside others, with a trained classifier. Differs: by the
    looks of lines, which needs no labels; `train_quality` learns from them where there are some.
    """
    return code_share(stats) < at_least


@filters.add
def not_mathematics(stats: Stats, *, at_least: NonNegativeInt = 3, per_hundred_words: float = 0.5) -> Drops:
    """Drops documents with fewer formulas, or too few for their length.

    Source: Llama 3, 3.1.1, which gathers pages of mathematics beside others, with a trained classifier. Differs: by
    TeX and mathematical signs, which needs no labels.
    """
    formulas = stats.formulas + stats.mathematical_signs / 8
    return (formulas < at_least) | (formula_rate(stats) < per_hundred_words)
