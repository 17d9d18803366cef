"""Scores of long-text benchmarks, on cases worked out by hand from the official rules."""

from __future__ import annotations

import pytest

from herd.judge import long_text as scores


@pytest.mark.parametrize(
    ("name", "answer", "references", "score"),
    [
        ("first_integer", "The pass key is 71432.", ["71432"], 1),
        ("first_integer", "71 432", ["71432"], 0),
        ("first_integer", "none", ["71432"], 0),
        ("word_in_answer", '{"key": "ab-12"}', ["ab-12"], 1),
        ("word_in_answer", "xab-12", ["ab-12"], 0),
        ("name_in_answer", "It is Holmes!", ["HOLMES", "SHERLOCK"], 1),
        ("name_in_answer", "It is Watson", ["HOLMES"], 0),
        ("last_integer", "func_1(3) returns -7.", ["-7"], 1),
        ("last_integer", "-7 is it", ["-7"], 0),
        ("last_integer", "", ["-7"], 0),
        ("first_number", "about 3.5, or 4", ["3.5"], 1),
        ("first_number", "4 and 5", ["5"], 0),
        ("first_number", "-12", ["-12"], 1),
        ("leading_numbers", "[1, -2, 3, 9]", ["1", "-2", "3", "4"], 0.75),
        ("leading_numbers", "5 1", ["1", "5"], 0),
        ("leading_numbers", "1 2 3 4 5", ["1", "2"], 1),
        ("leading_numbers", f"1 {'9' * 5000}", ["1", "2"], 0.5),  # more digits than Python makes an integer of
        ("leading_numbers", "-0 007 ४", ["0", "7", "4"], 1),
        ("last_integer", "none", ["n/a"], 0),
        ("option_letter", "B", ["B", "a green door"], 1),
        ("option_letter", "B. a red door", ["A", "a green door"], 0),
        ("option_letter", "a green door", ["B", "a green door"], 1),
        ("option_letter", "The answer is: B, since", ["B", "x"], 1),
        ("option_letter", "I would take C here", ["C", "x"], 1),
        ("option_letter", "Because of it", ["B", "x"], 0),
        ("option_letter", "", ["B", "x"], 0),
        ("qa_f1", "the red door", ["a green door", "red door"], 1),
        ("qa_f1", "door", ["green door"], 2 / 3),
        ("chinese_f1", "北京。", ["北京"], 1),
        ("chinese_f1", "北海", ["北京", "上海"], 0.5),
        ("chinese_f1", "", ["北京"], 0),
        ("answer_rouge_l", "the cat sat", ["the cat sat"], 1),
        ("summary_rouge_l", "the cat sat\non a mat", ["on a mat\nthe cat sat"], 1),
        ("rouge_geometric_mean", "the cat sat", ["x", "the cat sat"], 1),
        ("rouge_geometric_mean", "cat", ["the cat"], 0),
        ("exact_answer", "Not mentioned.", ["not mentioned"], 1),
        ("exact_answer", "mentioned not", ["not mentioned"], 0),
        ("quality_letter", "(C) since he left", ["(C) He left"], 1),
        ("quality_letter", "B", ["(C) He left"], 0),
        ("quality_letter", "C", ["C"], 1),
        ("percent_similarity", "70%", ["60%"], 0.5),
        ("percent_similarity", "60", ["60%"], 1),
        ("percent_similarity", "no idea", ["60%"], 0),
        ("percent_similarity", "700", ["60%"], 0),
        ("order_concordance", "2, 1, 3", ["1,2,3"], 2 / 3),
        ("order_concordance", "3,2,1", ["1,2,3"], 0),
        ("order_concordance", "1,2", ["1,2,3"], 0),
    ],
)
def test_an_answer_is_worth_what_the_rules_say(name: str, answer: str, references: list[str], score: float) -> None:
    assert getattr(scores, name)(answer, references) == pytest.approx(score)
