"""One answer out of many samples of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def majority_answer(answers: Sequence[Hashable]) -> int:
    """The number of the first sample that gives the most frequent answer; of answers equally frequent, the one that
    came first wins. Answers are compared as they are, so normalize them before.

    Source: Wang et al. 2022 (self-consistency); Qwen2.5-Math, rm_maj_eval, and lm-eval's filter `majority_vote`, which
    both break ties so. Raises ValueError without samples.
    """
    if not answers:
        raise ValueError("no samples to vote among")
    counts = Counter(answers)
    highest = max(counts.values())
    return next(number for number, answer in enumerate(answers) if counts[answer] == highest)


def best_scored(scores: Sequence[float]) -> int:
    """The number of the sample that scores highest; of equals the first. Raises ValueError without any."""
    return max(range(len(scores)), key=lambda number: (scores[number], -number))
