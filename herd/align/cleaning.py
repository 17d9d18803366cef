"""Habits of models that nobody wants to be learnt: emojis, exclamation marks, apologies (4.2.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from herd.core.records import Conversation
from herd.core.settings import Count, Share, settings

_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_APOLOGY = re.compile(r"\bI(?:['\u2019]m| am)(?: \w+)? sorry\b|\bI apologi[sz]e\b|\bmy apologies\b", re.IGNORECASE)


@settings
class CleaningSettings:
    """emojis, exclamations: the most of an answer. apologies: the largest share of dialogues in which the assistant
    apologizes; the report balances them and does not say how many it leaves."""

    emojis: Count = 2
    exclamations: Count = 3
    apologies: Share = 0.02


def excited(one: Conversation, limits: CleaningSettings) -> bool:
    """Whether an answer has more emojis or exclamation marks than it may."""
    said = [message.content for message in one.messages if message.role == "assistant"]
    return any(len(_EMOJI.findall(text)) > limits.emojis or text.count("!") > limits.exclamations for text in said)


def apologizes(one: Conversation) -> bool:
    return any(_APOLOGY.search(message.content) for message in one.messages if message.role == "assistant")


def balanced(ordered: Sequence[Conversation], limits: CleaningSettings) -> list[bool]:
    """Which dialogues stay when so many may apologize: of those that do the first ones, the others all."""
    sorry = [apologizes(one) for one in ordered]
    others, room = len(sorry) - sum(sorry), limits.apologies
    most = sum(sorry) if room >= 1 else int(room * others / (1 - room))
    taken = 0
    stays = []
    for one in sorry:
        taken += one
        stays.append(not one or taken <= most)
    return stays
