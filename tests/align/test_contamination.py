"""Questions of the tests are found in rows, and what all questions say is no question."""

from __future__ import annotations

import pytest

from herd.align.columns import ParsedRows
from herd.align.contamination import HeldOutQuestions, drop_contaminated
from herd.align.preflight import inspect_rows
from herd.core.records import Conversation, Message, Preference
from tests.align.test_columns import MORE, SAID
from tests.tokens.test_chat import FORM, TOKENIZER

LONG = "a farmer has twelve cows and sells four of them to a neighbour for ninety pounds each"


@pytest.mark.parametrize(
    ("said", "held"),
    [
        (LONG, True),
        (f"Here is one. {LONG.upper()}! What did he get?", True),
        ("a farmer has twelve cows and sells four pigs, and the neighbour has a dog that barks", False),
        ("How many legs has a dog?", True),
        ("I wonder: how many legs has a dog?", False),
    ],
)
def test_a_question_of_the_tests_is_found_in_other_words_around_it(said: str, held: bool) -> None:
    asked = [Conversation((Message("user", one),)) for one in (LONG, "how many legs has a dog")]
    row = Conversation((Message("user", said), SAID))
    tests = HeldOutQuestions(asked)
    assert tests.occurs_in(row) == held
    asking = Conversation((Message("user", said),))
    assert tests.occurs_in(Preference(prompt=asking, chosen=(SAID,), rejected=(MORE[2],))) == held
    found = inspect_rows(ParsedRows([row]), FORM, TOKENIZER, 999, tests)
    assert found.faults == ({"holding a question of the tests": 1} if held else {})
    given = ParsedRows([row])
    drop_contaminated(given, tests)
    assert len(given.conversations) == (not held)
    assert given.rejected == ({"a question of the tests": 1} if held else {})


def test_what_all_questions_say_tells_none_apart() -> None:
    form = "think step by step and end with four signs and the number you found"
    asked = [Conversation((Message("user", f"{LONG} {count}, {form}"),)) for count in range(5)]
    row = Conversation((Message("user", f"name a colour, {form}"), SAID))
    assert not HeldOutQuestions(asked).occurs_in(row)
