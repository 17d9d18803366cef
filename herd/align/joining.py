"""Conversations that go on: several dialogues one after another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from random import Random

from herd.align.loading import read_dialogues, write_dialogues
from herd.core.artifacts import Dialogues
from herd.core.errors import SettingsError
from herd.core.records import Conversation
from herd.core.seeds import rng
from herd.core.settings import PositiveInt
from herd.core.stage import Work, stage

# Half of the conversations are one dialogue, the others more of them than are often asked.
LENGTHS = (1, 1, 1, 2, 3, 8)


@stage(paper="4.2.1", version=1)
def join_dialogues(
    work: Work,
    dialogues: tuple[Dialogues, ...],
    *,
    lengths: tuple[PositiveInt, ...] = LENGTHS,
    alone: tuple[str, ...] = (),
    seed: int = 0,
) -> Dialogues:
    """All dialogues, shuffled and put one after another: a model that was only ever asked once answers the tenth
    question of a conversation worse than the first.

    lengths: of how many dialogues a conversation is made, each drawn as often. alone: sources of which each stays a
    conversation of its own, such as long texts. A conversation has the source of its first dialogue, and the tools of
    the first that has any; dialogues with a system message stay alone. Raises SettingsError without `lengths`.

    Source: the multi-turn dialogues of Llama 3, 4.2.1; how they are made is herd's.
    """
    conversations = read_dialogues(dialogues)
    rng(seed, "join_dialogues").shuffle(conversations)
    joined = list(join(conversations, lengths, rng(seed, "join_dialogues lengths"), alone=alone))
    longest = max((len(one.messages) for one in joined), default=0)
    headline = f"{len(conversations):,} dialogues as {len(joined):,} conversations, {longest} messages at most"
    return write_dialogues(work, joined, headline)


def join(
    dialogues: Sequence[Conversation], lengths: Sequence[int], chance: Random, *, alone: Collection[str] = ()
) -> Iterator[Conversation]:
    """The dialogues in order, so many to a conversation as is drawn from `lengths`."""
    if not lengths:
        raise SettingsError("lengths names no number of dialogues; name one, such as 1")

    def stays_alone(dialogue: Conversation) -> bool:
        return dialogue.source in alone or any(message.role == "system" for message in dialogue.messages)

    waiting = list(reversed(dialogues))
    while waiting:
        count, joined = chance.choice(lengths), [waiting.pop()]
        while waiting and len(joined) < count and not (stays_alone(joined[0]) or stays_alone(waiting[-1])):
            joined.append(waiting.pop())
        first, *more = joined
        tools = next((dialogue.tools for dialogue in joined if dialogue.tools), ())
        messages = chain.from_iterable(dialogue.messages for dialogue in more)
        yield replace(first.with_messages(*messages), tools=tools)
