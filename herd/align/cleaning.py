"""Habits of models that nobody wants to be learnt: emojis, exclamation marks, apologies (4.2.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from herd.core.records import Conversation
from herd.core.settings import NonNegativeInt, Share, settings

_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_APOLOGY = re.compile(r"\bI(?:['\u2019]m| am)(?: \w+)? sorry\b|\bI apologi[sz]e\b|\bmy apologies\b", re.IGNORECASE)


@settings
class CleaningSettings:
    """max_emojis, max_exclamations: the most of an answer. max_apology_share: the largest share of dialogues in which
    the assistant apologizes; the report balances them and does not say how many it leaves."""

    max_emojis: NonNegativeInt = 2
    max_exclamations: NonNegativeInt = 3
    max_apology_share: Share = 0.02


def is_excited(conversation: Conversation, limits: CleaningSettings) -> bool:
    """Whether an answer has more emojis or exclamation marks than it may."""
    answers = [message.content for message in conversation.messages if message.role == "assistant"]
    return any(
        len(_EMOJI.findall(text)) > limits.max_emojis or text.count("!") > limits.max_exclamations for text in answers
    )


def apologizes(conversation: Conversation) -> bool:
    return any(_APOLOGY.search(message.content) for message in conversation.messages if message.role == "assistant")


def balance_apologies(ordered: Sequence[Conversation], limits: CleaningSettings) -> list[bool]:
    """Which dialogues stay when so many may apologize: of those that do the first ones, the others all."""
    sorry = [apologizes(conversation) for conversation in ordered]
    calm, room = len(sorry) - sum(sorry), limits.max_apology_share
    limit = sum(sorry) if room >= 1 else int(room * calm / (1 - room))
    count = 0
    stays = []
    for apology in sorry:
        count += apology
        stays.append(not apology or count <= limit)
    return stays
