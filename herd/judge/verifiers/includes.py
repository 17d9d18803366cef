"""The known answer among other words."""

from __future__ import annotations

import re

from herd.core.records import Conversation, Message
from herd.judge.verifiers import verifiers


@verifiers.add
def includes(prompt: Conversation, answer: Message, reference: Message | None) -> bool | None:
    """Whether the answer has all words of the known one in a row, whatever stands around them, but for case and
    punctuation; None when nothing is known.

    Source: Mallen et al. 2023 (When Not to Trust Language Models), section 3: right when a substring is a right answer.
    Differs: whole words, so that 12 is not in 112.
    """
    if reference is None or not (words := _words(reference.content)):
        return None
    return f" {words} " in f" {_words(answer.content)} "


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))
