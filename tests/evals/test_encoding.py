"""Prompts as ids: what an answer begins with, and what a context does not hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.evals.encoding import (
    chat_continuation,
    check_fits,
    continuation,
    opened_chats,
    prompt_ids,
    truncate_pairs,
    truncate_prompts,
)
from herd.evals.task import Prompt
from tests.tokens.test_chat import TOKENIZER

ASKED = Prompt.of("Which is wet?\nAnswer:")
BEGUN = replace(ASKED, response_prefix="The best answer is")


def test_what_an_answer_begins_with_stands_after_the_prompt_or_in_the_models_own_turn() -> None:
    text = TOKENIZER.decode(prompt_ids(TOKENIZER, [BEGUN], False)[0])
    assert text.endswith("Which is wet?\nAnswer: The best answer is")
    plain, begun = (prompt_ids(TOKENIZER, [prompt], True)[0] for prompt in (ASKED, BEGUN))
    assert begun == plain + TOKENIZER.encode("The best answer is")
    assert plain == opened_chats(TOKENIZER, [BEGUN])[0]


@pytest.mark.parametrize(
    ("prefix", "wanted"),
    [("", "rain"), ("The best answer is", "The best answer is rain"), ("It is ", "It is  rain")],
)
def test_a_choice_goes_on_from_it(prefix: str, wanted: str) -> None:
    opened = opened_chats(TOKENIZER, [ASKED])[0]
    before, after = chat_continuation(TOKENIZER, opened, prefix, " rain")
    assert TOKENIZER.decode([*before, *after]).endswith(wanted)
    assert before[: len(opened)] == opened
    assert TOKENIZER.decode(after).strip() == "rain"


@given(st.text(max_size=12), st.text(min_size=1, max_size=12))
def test_prompt_and_choice_are_the_ids_of_both_together(prompt: str, choice: str) -> None:
    before, after = continuation(TOKENIZER, prompt, choice)
    assert TOKENIZER.decode([*before, *after]).endswith(prompt + choice)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 10))
def test_truncated_prompts_keep_their_ends_and_leave_room(lengths: list[int], max_tokens: int) -> None:
    rows = [list(range(length)) for length in lengths]
    fitting, cut = truncate_prompts(rows, 20, max_tokens)
    assert cut == sum(length >= 20 for length in lengths)
    for row, kept in zip(rows, fitting, strict=True):
        assert row[-len(kept) :] == kept
        assert len(kept) == len(row) if len(row) < 20 else len(kept) + max_tokens == 20


def test_pairs_are_truncated_as_far_as_the_choice_needs() -> None:
    fitting, cut = truncate_pairs([(list(range(18)), [7, 8]), (list(range(30)), [7, 8, 9])], 20)
    assert cut == [False, True]
    assert fitting[0] == (list(range(18)), [7, 8])
    assert fitting[1] == (list(range(13, 30)), [7, 8, 9])


def test_what_leaves_no_room_is_refused() -> None:
    with pytest.raises(DataError, match="leave no room"):
        truncate_prompts([list(range(30))], 20, 20)
    with pytest.raises(DataError, match="a choice takes 20 tokens"):
        truncate_pairs([([1], list(range(20)))], 20)
    with pytest.raises(DataError, match="an example takes 30 tokens; the model reads 20"):
        check_fits(20, [30])
