"""Whether an answer follows instructions, strictly and loosely."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.judge.ifeval import check_instructions, loose_forms
from tests.judge.data import rows
from tests.judge.needs import needs_langdetect, needs_punkt

# The letter of its instruction is `#`, for which upstream draws a letter at random: its loose verdict is below its
# strict one.
RANDOM_UPSTREAM = {1122}


@needs_punkt
@needs_langdetect
def test_verdicts_of_the_shared_rows() -> None:
    """Half of them; all are in benchmarks/verdicts.py."""
    different = []
    for row in rows("ifeval/ifeval.jsonl.gz")[::2]:
        verdict = check_instructions(row["gpt4_response"], row["instruction_id_list"], row["kwargs"])
        if (list(verdict.strict), list(verdict.loose)) != (row["strict"], row["loose"]):
            different.append(row["key"])
    assert set(different) <= RANDOM_UPSTREAM


def test_eight_forms_are_tried() -> None:
    forms = loose_forms("Here:\n*a, b*\nBye")
    assert len(forms) == 8
    assert forms[0] == "Here:\n*a, b*\nBye"
    assert "a, b" in forms
    verdict = check_instructions("Sure, yes:\nab\nBye, then", ["punctuation:no_comma"], [{}])
    assert (verdict.strict, verdict.loose) == ((False,), (True,))
    parts = verdict.answer_verdict.parts
    assert parts["prompt_level_strict_acc"] == 0
    assert parts["inst_level_loose_acc"] == 1
    assert verdict.answer_verdict.reason == "it does not follow instruction 1"


def test_an_empty_answer_follows_nothing() -> None:
    verdict = check_instructions(" \n", ["punctuation:no_comma", "startend:quotation"], [{}, {"none": None}])
    assert verdict.strict == verdict.loose == (False, False)


def test_arguments_without_a_value_are_left_out() -> None:
    columns = {"num_words": 2, "relation": "at least", "keywords": None, "letter": None}
    assert check_instructions("a b", ["length_constraints:number_words"], [columns]).strict == (True,)


@pytest.mark.parametrize(
    ("instructions", "arguments", "words"),
    [
        (["punctuation:no_commas"], [{}], "did you mean 'punctuation:no_comma'"),
        (["punctuation:no_comma"], [], "1 instructions have 0 sets"),
        (["length_constraints:number_words"], [{"words": 3}], "words"),
        (["length_constraints:number_words"], [{"num_words": 3}], "relation"),
    ],
)
def test_a_damaged_row_is_refused(instructions: list[str], arguments: list[dict], words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_instructions("a", instructions, arguments)


INSTRUCTIONS = [
    ("punctuation:no_comma", {}),
    ("startend:quotation", {}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}),
    ("combination:two_responses", {}),
    ("detectable_format:json_format", {}),
    ("length_constraints:number_words", {"num_words": 4, "relation": "less than"}),
]


@given(st.text(alphabet='ab,*-"\n {}1', max_size=50))
def test_loose_is_never_below_strict(text: str) -> None:
    verdict = check_instructions(text, [name for name, _ in INSTRUCTIONS], [row for _, row in INSTRUCTIONS])
    assert all(loose >= strict for strict, loose in zip(verdict.strict, verdict.loose, strict=True))
