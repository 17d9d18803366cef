"""What is asked of a model. One function is one task; a new file here is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from herd.core.records import Conversation, Message
from herd.core.registry import Registry
from herd.world.questions import Question


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


def closed(question: Question, shots: str) -> Item:
    """A question of the world that has one answer; a base model is shown `shots` before it."""
    return Item(
        question.prompt,
        f"{shots}{question.text}",
        question.is_right,
        lambda text: question.is_right(Message("assistant", first_line(text))),
        f" {question.answers[0].content}",
    )


def first_line(text: str) -> str:
    """What a model that only continues text says before it goes on with something else."""
    return text.strip().partition("\n")[0]
