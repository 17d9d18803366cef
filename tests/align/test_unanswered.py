"""Prompts without an answer are told of by reason, with what would change the most common one."""

from __future__ import annotations

import pytest

from herd.align.unanswered import ASKS_FOR_TOOLS, LONG_PROMPT, NO_END, NOT_RIGHT, nothing_answered, unanswered_words


def test_reasons_are_counted_and_those_that_are_none_left_away() -> None:
    assert unanswered_words({NO_END: 0}) == ""
    words = unanswered_words({ASKS_FOR_TOOLS: 1, NO_END: 1_000, NOT_RIGHT: 0})
    assert words == "1,001 without one (it asks for tools: 1, no answer came to an end: 1,000)"


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (NO_END, "raise sampling.max_tokens, now 40, or take a model that ends its answers"),
        (NOT_RIGHT, "raise num_samples, now 4, or see whether the verifier numeric_match reads"),
        (LONG_PROMPT, "bring shorter prompts"),
        (ASKS_FOR_TOOLS, "bring prompts that no tool is needed for"),
    ],
)
def test_the_most_common_reason_has_its_remedy(reason: str, remedy: str) -> None:
    others = {other: 1 for other in (NO_END, NOT_RIGHT, LONG_PROMPT, ASKS_FOR_TOOLS) if other != reason}
    told = nothing_answered(others | {reason: 5}, max_tokens=40, num_samples=4, verifier="numeric_match")
    assert told.startswith("none of 8 prompts got an answer to learn from (")
    assert f"{reason}: 5" in told
    assert remedy in told
