"""The very words."""

from __future__ import annotations

from herd.core.records import Conversation, Message
from herd.judge.verifiers import verifiers


@verifiers.add
def exact_match(prompt: Conversation, answer: Message, reference: Message | None) -> bool | None:
    """Whether both say the same but for case and spaces; None when nothing is known."""
    return None if reference is None else _plain(answer.content) == _plain(reference.content)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
