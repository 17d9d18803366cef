"""Plug-ins in a file of your own: `herd run mine.yaml --plugins 08_own_file.py`, or a line `plugins:` in the YAML."""

from herd.cli import main
from herd.core.records import Conversation, Message
from herd.core.settings import Share
from herd.corpus.filters import Drops, filters
from herd.corpus.stats import Stats, compute_stats
from herd.judge.verifiers import verifiers


@filters.add
def many_digits(stats: Stats, *, at_most: Share = 0.2) -> Drops:
    """Drops documents that are mostly numbers. Source: ours, for tables that extraction left as text."""
    return stats.digits > at_most * stats.characters


@verifiers.add
def last_word(prompt: Conversation, answer: Message, known: Message | None) -> bool | None:
    """Whether both end with the same word; None when nothing is known. Source: ours."""
    return None if known is None else answer.content.split()[-1:] == known.content.split()[-1:]


TEXTS = ["The river rose for 3 days, and then it fell.", "12 40 7.5 1999 8 81 2024 16 3.14"]

if __name__ == "__main__":
    for text, dropped in zip(TEXTS, filters.make(filters.configure("many_digits"))(compute_stats(TEXTS)), strict=True):
        print("drop" if dropped else "keep", "|", text)
    main(["list", "verifiers", "--plugins", __file__])
