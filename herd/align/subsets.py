"""A drawn part of dialogues, so many of each source."""

from __future__ import annotations

from collections import defaultdict

from herd.align.loading import read_dialogues, write_dialogues
from herd.core.artifacts import Dialogues
from herd.core.errors import DataError
from herd.core.records import Conversation
from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.core.stage import Work, stage


@stage(paper="4.2.3", version=1)
def sample_by_source(
    work: Work, dialogues: tuple[Dialogues, ...], *, counts: dict[str, PositiveInt], seed: int = 0
) -> Dialogues:
    """Of each source named in `counts` at most so many dialogues, drawn by `seed`, in the order they had; other sources
    are left out. A larger count adds to what a smaller one drew. Raises DataError when no dialogue is of a source
    named."""
    by_source: dict[str, list[int]] = defaultdict(list)
    conversations = read_dialogues(dialogues)
    for number, conversation in enumerate(conversations):
        by_source[conversation.source].append(number)
    drawn: list[int] = []
    for source, count in counts.items():
        rng(seed, "sample_by_source", source).shuffle(by_source[source])
        drawn += by_source[source][:count]
    if not drawn:
        sources = ", ".join(sorted({conversation.source for conversation in conversations}))
        raise DataError(f"no dialogue is of a source that counts names ({', '.join(counts)}); there are {sources}")
    sample: list[Conversation] = [conversations[number] for number in sorted(drawn)]
    left_out = {
        "more than were asked for": sum(max(0, len(by_source[source]) - count) for source, count in counts.items()),
        "another source": sum(conversation.source not in counts for conversation in conversations),
    }
    headline = ", ".join(f"{min(count, len(by_source[source])):,} of {source}" for source, count in counts.items())
    return write_dialogues(
        work, sample, headline, left_out={reason: number for reason, number in left_out.items() if number}
    )
