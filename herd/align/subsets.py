"""A drawn part of dialogues, so many of each source, or in given shares; and the prompts of ranked answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from herd.align.loading import read_dialogues, write_dialogues
from herd.core.artifacts import Dialogues, Preferences
from herd.core.errors import DataError
from herd.core.records import Conversation
from herd.core.seeds import rng
from herd.core.settings import MixtureWeights, PositiveInt
from herd.core.stage import Work, stage
from herd.core.storage import read_preferences


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


@stage(paper="4.2.3", version=1)
def mix_by_share(
    work: Work, dialogues: tuple[Dialogues, ...], *, shares: MixtureWeights, max_repeats: PositiveInt = 4, seed: int = 0
) -> Dialogues:
    """Dialogues of whose number each source has its share: as many as there are of the sources named, and fewer where
    a source would have to be read more than `max_repeats` times.

    A source is drawn by `seed`; of one that is too small some dialogues, or all, stand there several times, one reading
    after another. A source of which there is no dialogue is warned of, and the others keep their proportions; sources
    without a share are left out. Raises DataError when no dialogue is of a source with a share. Source: Llama 3, 4.2.3
    and table 7 (shares of examples; some sources several times, others in part).
    """
    by_source: dict[str, list[Conversation]] = defaultdict(list)
    for conversation in read_dialogues(dialogues):
        by_source[conversation.source].append(conversation)
    counts = share_counts({source: len(rows) for source, rows in by_source.items()}, shares, max_repeats)
    if not counts:
        wanted = ", ".join(source for source, share in shares.items() if share > 0)
        raise DataError(f"no dialogue is of a source with a share ({wanted}); there are {_listing(by_source)}")
    mixed: list[Conversation] = []
    left_out = {"a source without a share": 0, "more than its share": 0}
    for source, rows in by_source.items():
        if source not in counts:
            left_out["a source without a share"] += len(rows)
            continue
        rng(seed, "mix_by_share", source).shuffle(rows)
        readings, remainder = divmod(counts[source], len(rows))
        mixed += rows * readings + rows[:remainder]
        left_out["more than its share"] += max(0, len(rows) - counts[source])
    absent = [source for source, share in shares.items() if share > 0 and not by_source.get(source)]
    headline = ", ".join(f"{count:,} of {source}" for source, count in counts.items())
    missed = f"; none of {', '.join(absent)}, whose shares the others have" if absent else ""
    if absent:
        work.warn(f"no dialogue is of {', '.join(absent)}: the other sources have these shares")
    return write_dialogues(
        work, mixed, headline + missed, left_out={reason: number for reason, number in left_out.items() if number}
    )


def share_counts(sizes: Mapping[str, int], shares: Mapping[str, float], max_repeats: int) -> dict[str, int]:
    """How many dialogues of each source there are in the mix of `mix_by_share`: one at least of each that has a share
    and a dialogue. sizes: dialogues by source."""
    used = {source: share for source, share in shares.items() if share > 0 and sizes.get(source, 0)}
    whole = sum(used.values())
    if not used:
        return {}
    scarcest = min(max_repeats * sizes[source] * whole / share for source, share in used.items())
    total = min(sum(sizes[source] for source in used), scarcest)
    # A little more than a whole number is the rounding of the division before.
    return {source: max(1, int(total * share / whole + 1e-6)) for source, share in used.items()}


@stage(paper="4.2.2", version=1)
def preference_prompts(work: Work, preferences: tuple[Preferences, ...]) -> Dialogues:
    """The prompts of ranked answers, each once, for a model to answer anew."""
    prompts: dict[tuple[object, ...], Conversation] = {}
    total = 0
    for artifact in preferences:
        for preference in read_preferences(artifact.path):
            prompts.setdefault(tuple(preference.prompt.messages), preference.prompt)
            total += 1
    left_out = {"asked before": total - len(prompts)} if total > len(prompts) else {}
    return write_dialogues(work, list(prompts.values()), f"{len(prompts):,} prompts", left_out=left_out)


def _listing(sources: Iterable[str]) -> str:
    return ", ".join(sorted(sources)) or "none"
