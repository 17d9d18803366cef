"""What is asked of a model. One function is one task; a new file here is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from herd.core.records import Conversation, Message
from herd.core.registry import Registry


@dataclass(frozen=True)
class Item:
    """One question of a task.

    prompt: for a model that chats. plain: for one that only continues text. answered: whether its first
    turn is right. continued: whether the text it continued with is right. gold: what right text would be, from the end
    of `plain` on; empty where a text that only goes on could not know it.
    """

    prompt: Conversation
    plain: str
    answered: Callable[[Message], bool]
    continued: Callable[[str], bool]
    gold: str = ""


Task = Callable[..., list[Item]]

# A task is given the world and, by its settings, how many questions are wanted.
tasks: Registry[Callable[..., list[Item]]] = Registry("tasks", __name__)


def first_line(text: str) -> str:
    """What a model that only continues text says before it goes on with something else."""
    return text.strip().partition("\n")[0]
