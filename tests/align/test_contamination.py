"""Questions of the tests are found in rows, and what all questions say is no question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


WORDS = LONG.split()


def talk(*said: str) -> Conversation:
    """The user and the assistant in turn."""
    return Conversation(tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(said)))


def test_half_of_a_questions_runs_are_enough_and_fewer_are_not() -> None:
    tests = HeldOutQuestions([talk(LONG)])
    runs = len(WORDS) - 7  # of eight words each
    for words in range(8, len(WORDS) + 1):
        assert tests.occurs_in(talk(" ".join(WORDS[:words]), "yes")) == ((words - 7) >= runs / 2)


@given(st.integers(0, len(WORDS)), st.booleans())
def test_what_is_said_around_a_question_and_by_whom_changes_nothing(at: int, answers: bool) -> None:
    text = " ".join(["words", "before", *WORDS, "and", "after"])
    row = talk("hello", text) if answers else talk(text, "yes")
    assert HeldOutQuestions([talk(LONG)]).occurs_in(row)
    # Words put in between tear runs apart; in the middle more of them.
    torn = talk(" ".join([*WORDS[:at], "suddenly", *WORDS[at:]]), "yes")
    left = max(0, at - 7) + max(0, len(WORDS) - at - 7)
    assert HeldOutQuestions([talk(LONG)]).occurs_in(torn) == (left >= (len(WORDS) - 7) / 2)


def test_only_the_last_thing_asked_is_a_question_and_silence_asks_nothing() -> None:
    tests = HeldOutQuestions(
        [talk("an example", "yes", LONG), talk("", "hello"), Conversation((Message("assistant", "hi"),))]
    )
    assert tests.occurs_in(talk(LONG, "no"))
    assert not tests.occurs_in(talk("an example", "yes"))
    assert not HeldOutQuestions([]).occurs_in(talk(LONG, "no"))


def test_every_ranked_answer_is_read_and_what_is_left_out_is_counted_once() -> None:
    tests = HeldOutQuestions([talk(LONG)])
    fine, told = (Message("assistant", "yes"),), (Message("assistant", f"you mean: {LONG}"),)
    asked = talk("what?")
    rows = [
        Preference(prompt=asked, chosen=fine, rejected=told),
        Preference(prompt=asked, chosen=fine, rejected=fine, edited=told),
        Preference(prompt=asked, chosen=fine, rejected=fine),
    ]
    found = ParsedRows([talk(LONG, "yes"), asked], rows)
    drop_contaminated(found, tests)
    assert (found.conversations, found.preferences) == ([asked], rows[2:])
    assert found.rejected == {"a question of the tests": 3}
    drop_contaminated(found, tests)
    assert found.rejected == {"a question of the tests": 3}
