"""Forms of rows that several benchmarks share."""

from __future__ import annotations

from typing import Any

import pytest

from herd.evals.rowforms import (
    STEM_FORM,
    check_gold,
    gold_of,
    labelled_choices,
    listed_query_form,
    query_form,
    with_own_id,
)

WANTED = {"question": "Which flies?", "choices": ["a stone", "a bird"], "gold": 1}


def converted(form: Any, row: dict[str, Any]) -> Any:
    assert all(column in row for column in form.columns)
    return form.convert(row, "test.jsonl")


def test_every_form_of_one_question_is_the_same_question() -> None:
    hub = {"id": "q1", "question": "Which flies?", "choices": {"text": ["a stone", "a bird"], "label": ["A", "B"]}}
    stem = {"stem": "Which flies?", "choices": [{"text": "a stone", "label": "1"}, {"text": "a bird", "label": "2"}]}
    assert converted(labelled_choices("question"), {**hub, "answerKey": "B"}) == {"id": "q1", **WANTED}
    assert converted(STEM_FORM, {"id": "q1", "question": stem, "answerKey": "2"}) == {"id": "q1", **WANTED}
    query = {"query": "Question: Which flies?", "choices": ["a stone", "a bird"], "gold": 1}
    assert converted(query_form("Question: "), query) == WANTED
    listed = {
        "query": "Question: Which flies?\nChoices:\nA. a stone\nB. a bird\nAnswer:",
        "choices": ["A", "B"],
        "gold": 1,
    }
    assert converted(listed_query_form("Question: "), listed) == WANTED


@pytest.mark.parametrize(
    ("answer", "labels", "gold"), [("B", "ABCD", 1), ("2", "ABCD", 1), ("2", ["1", "2"], 1), ("B", ["1", "2"], 1)]
)
def test_the_right_choice_by_label_letter_or_number(answer: str, labels: Any, gold: int) -> None:
    assert gold_of(answer, labels) == gold


def test_an_answer_that_names_no_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="'E' is none of A, B"):
        gold_of("E", "AB")
    with pytest.raises(ValueError, match="is none of A, B"):
        gold_of("", "AB")
    with pytest.raises(ValueError, match="the answer 2 is none of 2 choices"):
        check_gold({"choices": ["a", "b"], "gold": 2})
    with pytest.raises(ValueError, match="no lines `Choices:`"):
        listed_query_form("").convert({"query": "?", "choices": ["A"], "gold": 0}, "")


def test_an_id_of_the_release_is_kept() -> None:
    assert with_own_id({"id": 7}, "id", {"question": "?"}) == {"id": "7", "question": "?"}
    assert with_own_id({"id": ""}, "id", {"question": "?"}) == {"question": "?"}
