"""How many of the strings that a right answer holds stand in an answer.

Source: Hsieh et al. 2024 (RULER), `scripts/eval/synthetic/constants.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONTROL = re.compile(r"[\x00-\x1f]")


def string_match_all(answer: str, references: Sequence[str]) -> float:
    """The share of the references that stand in the answer, upper and lower case alike: 0 to 1."""
    return sum(_matches(answer, references)) / len(references)


def string_match_part(answer: str, references: Sequence[str]) -> float:
    """1 where any of the references stands in the answer, upper and lower case alike, else 0."""
    return float(any(_matches(answer, references)))


def _matches(answer: str, references: Sequence[str]) -> list[bool]:
    text = _CONTROL.sub("\n", answer.strip()).strip().lower()
    return [reference.lower() in text for reference in references]
