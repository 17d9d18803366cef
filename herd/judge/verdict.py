"""What a grader says about an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Graders look at no more of an answer than this many characters; a model's context is a tenth of it.
MAX_ANSWER_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class AnswerVerdict:
    """What an answer is worth. score: 1 right, 0 wrong, between them partly right; None is void: nobody could tell, and
    the answer counts in no score. extracted: what was read out of the answer. reason: for people. unparsed: nothing
    that could be right was found in it, which a score counts as wrong. parts: further scores by name, such as F1."""

    score: float | None
    extracted: str = ""
    reason: str = ""
    unparsed: bool = False
    parts: Mapping[str, float] = field(default_factory=dict)


def unparsed_verdict(reason: str) -> AnswerVerdict:
    """Of an answer out of which nothing could be read."""
    return AnswerVerdict(0.0, "", reason, unparsed=True)


def match_verdict(right: bool, extracted: str, target: str) -> AnswerVerdict:
    """Of an answer that was compared with the target."""
    return AnswerVerdict(float(right), extracted, "" if right else f"the target is {target!r}")
