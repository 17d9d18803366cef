"""How much of what was hidden in a long text an answer repeats."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from herd.judge.verdict import AnswerVerdict

_CONTROL = re.compile(r"[\x00-\x1f]")


def plain_lines(answer: str) -> str:
    """With line ends for all control characters. Source: RULER, postprocess_pred."""
    return _CONTROL.sub("\n", answer.strip()).strip()


def grade_strings(answer: str, references: Sequence[str], *, match: Literal["all", "part"] = "all") -> AnswerVerdict:
    """all: the share of the references that the answer has among its words, in any case; part: whether it has any.

    Source: Hsieh et al. 2024 (RULER), string_match_all and string_match_part of NVIDIA/RULER. Differs from lm-eval
    0.4.13, whose `part` is the share too. Raises ValueError without references.
    """
    if not references:
        raise ValueError("an answer is compared with no references")
    text = plain_lines(answer).lower()
    missing = [reference for reference in references if reference.lower() not in text]
    share = 1 - len(missing) / len(references)
    score = share if match == "all" else float(share > 0)
    return AnswerVerdict(
        score, text[:500], f"it lacks {missing}" if missing and score < 1 else "", parts={"recall": share}
    )
