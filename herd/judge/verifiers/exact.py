"""The very words."""

from __future__ import annotations

from herd.core.records import Conversation, Message
from herd.judge.verifiers import verifiers


@verifiers.add
def exact(prompt: Conversation, answer: Message, known: Message | None) -> bool | None:
    """Whether both say the same but for case and spaces; None when nothing is known."""
    return None if known is None else _plain(answer.content) == _plain(known.content)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
