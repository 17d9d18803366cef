"""The result of a sum."""

from __future__ import annotations

import re
from decimal import Decimal

from herd.core.records import Conversation, Message
from herd.judge.verifiers import verifiers

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
_MARK = "####"  # before the result, as in GSM8K


@verifiers.add
def numeric_match(prompt: Conversation, answer: Message, reference: Message | None) -> bool | None:
    """Whether the last number of both is the same, or what stands behind `####`; None when nothing known has one.

    Source: Cobbe et al. 2021 (GSM8K), where answers end with `#### N`; otherwise the last number, as lm-eval's flexible
    extraction has it.
    """
    right = last_number(reference.content) if reference is not None else None
    return None if right is None else last_number(answer.content) == right


def last_number(text: str) -> Decimal | None:
    """The number behind the last `####`, or the last of all; None where there is none."""
    matches = _NUMBER.findall(text.rpartition(_MARK)[2]) or _NUMBER.findall(text)
    return Decimal(matches[-1].replace(",", "")) if matches else None
