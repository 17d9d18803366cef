"""Which languages are kept."""

from __future__ import annotations

import numpy as np

from herd.core.settings import Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats


@filters.add
def language(stats: Stats, *, keep: tuple[str, ...] = ("en",), at_least: Share = 0.0) -> Drops:
    """Drops documents in a language not named (ISO 639-1 codes), or not surely enough in it.

    Source: Llama 3, 3.1.1; FineWeb keeps English recognised with 0.65 or more by another model.
    """
    return ~np.isin(stats.language, keep) | (stats.language_score < at_least)
