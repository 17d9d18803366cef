"""A new filter is one function; as a file in herd/corpus/filters/ a recipe can name it."""

from herd.core.settings import Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats, compute_stats


@filters.add
def many_braces(stats: Stats, *, at_most: Share = 0.02) -> Drops:
    """Drops documents that are mostly program text. Source: Raffel et al. 2020, 2.2 (any brace)."""
    return stats.braces > at_most * stats.words


TEXTS = [
    "We went to the river and had a fine day, all of us.",
    "if (a) { b(); } else { c(); } for (;;) { d(); }",
]

if __name__ == "__main__":
    chosen = filters.configure("many_braces", at_most=0.05)
    for text, dropped in zip(TEXTS, filters.make(chosen)(compute_stats(TEXTS)), strict=True):
        print("drop" if dropped else "keep", "|", text)
    try:
        filters.configure("many_braces", at_mots=0.05)
    except ValueError as fault:
        print("a typo fails while planning:", fault)
