"""Prompts that rejection sampling finds no answer to: why, and what would change that."""

from __future__ import annotations

from collections.abc import Mapping

ASKS_FOR_TOOLS = "it asks for tools"
LONG_PROMPT = "it is longer than the model reads"
NO_END = "no answer came to an end"
NOT_RIGHT = "no answer was right"


def unanswered_words(left_out: Mapping[str, int]) -> str:
    """How many prompts have no answer, by reason, for a headline; empty where all have one."""
    counts = {reason: count for reason, count in left_out.items() if count}
    if not counts:
        return ""
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in counts.items())
    return f"{sum(counts.values()):,} without one ({reasons})"


def nothing_answered(left_out: Mapping[str, int], *, max_tokens: int, num_samples: int, verifier: str = "") -> str:
    """A sentence for prompts of which none has an answer: why, and what to do about the most common reason. verifier:
    what found answers wrong."""
    remedies = {
        NO_END: f"raise sampling.max_tokens, now {max_tokens:,}, or take a model that ends its answers",
        NOT_RIGHT: f"raise num_samples, now {num_samples:,}, or see whether the verifier{verifier and f' {verifier}'} "
        "reads the form in which the model answers",
        LONG_PROMPT: "bring shorter prompts, or a model with a longer context",
        ASKS_FOR_TOOLS: "bring prompts that no tool is needed for",
    }
    counts = {reason: count for reason, count in left_out.items() if count}
    most = max(counts, key=lambda reason: counts[reason])
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in counts.items())
    return f"none of {sum(counts.values()):,} prompts got an answer to learn from ({reasons}); {remedies[most]}"
