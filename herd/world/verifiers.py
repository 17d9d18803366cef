"""What the small world holds to be true."""

from __future__ import annotations

from functools import cache

from herd.core.errors import DataError
from herd.core.records import Conversation, Message
from herd.judge.verifiers import verifiers
from herd.world.questions import Questions
from herd.world.truth import World


@verifiers.add
def true_in_world(prompt: Conversation, answer: Message, reference: Message | None, *, world: World) -> bool | None:
    """Whether `world` says so; None for a prompt that is none of its questions."""
    try:
        return _book(world).find(prompt.id).is_right(answer)
    except DataError:
        return None


@cache
def _book(world: World) -> Questions:
    return Questions(world)
