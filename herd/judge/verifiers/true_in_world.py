"""What the small world holds to be true."""

from __future__ import annotations

from functools import cache

from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.judge.verifiers import verifiers
from herd.world.questions import Questions
from herd.world.truth import World


@verifiers.add
def true_in_world(
    prompt: Conversation,
    answer: Message,
    known: Message | None,
    *,
    seed: int = 0,
    people: int = 48,
    written_share: float = 0.6,
) -> bool | None:
    """Whether the world with these settings says so; None for a prompt that is none of its questions."""
    try:
        return _book(seed, people, written_share).find(prompt.id).is_right(answer)
    except DataError:
        return None


@cache
def _book(seed: int, people: int, written_share: float) -> Questions:
    return Questions(World(seed=seed, people=people, written_share=written_share))
