"""Which languages are kept."""

from __future__ import annotations

import numpy as np

from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats


@filters.add
def language(stats: Stats, *, keep: tuple[str, ...] = ("en",)) -> Drops:
    """Drops documents in a language not named (ISO 639-1 codes). Source: Llama 3, 3.1.1."""
    return ~np.isin(stats.language, keep)
