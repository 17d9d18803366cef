"""Stored answers under other endings: what an engine gives under these, or nothing where it was never written."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.evals.answers import AnswerRecord
from herd.evals.harness import TaskScore, evaluate
from herd.evals.replay import AnswerEnding, ReplayedAnswer, replay, replay_as
from herd.evals.resumable import record_of
from herd.evals.task import Generate, Task
from tests.evals.test_harness import ENGINE, SUMS, ask, grade
from tests.tokens.test_chat import TOKENIZER


def generated(stop: tuple[str, ...], max_tokens: int) -> list[AnswerRecord]:
    task = Task(SUMS, ask, Generate(max_tokens=max_tokens, stop=stop), grade)
    score = evaluate(ENGINE, TOKENIZER, task, chat=False)
    assert isinstance(score, TaskScore)
    return [record_of("sums", answer, TOKENIZER) for answer in score.answers]


def test_replayed_answers_are_those_that_the_engine_writes() -> None:
    free = generated((), 24)
    letters = [record.response[5] for record in free] + [record.response[9:11] for record in free]
    endings = [
        AnswerEnding((), 24),
        AnswerEnding((), 7),
        AnswerEnding((letters[0],), 24),
        AnswerEnding((letters[6], letters[2]), 15),
    ]
    endings += [AnswerEnding((letters[8],), 3)]
    stored = {ending: generated(ending.stop, ending.max_tokens) for ending in endings}
    known = total = 0
    for own in endings:
        for wanted in endings:
            for record, real in zip(stored[own], stored[wanted], strict=True):
                found = replay(record, own, wanted)
                total += 1
                if found is not None:
                    known += 1
                    assert (found.text, found.truncated) == (real.response, real.finish_reason == "length")
                if own == wanted:
                    assert found is not None
    # From the answers that nothing ended early, everything is known.
    for wanted in endings:
        assert all(replay(record, endings[0], wanted) is not None for record in free)
    assert known / total > 0.5


RECORD = AnswerRecord("t", "1", response="a b c", tokens=3, token_lengths=(1, 2, 2), finish_reason="stop")
STOPPED = replace(RECORD, tail="\nQ: and", stop_string="\nQ:", tokens=5, token_lengths=(1, 2, 2, 3, 4))
LONG = replace(RECORD, finish_reason="length")
UNKNOWN = replace(RECORD, finish_reason="", tokens=0, token_lengths=())


@pytest.mark.parametrize(
    ("record", "own", "wanted", "text"),
    [
        (RECORD, AnswerEnding((), 9), AnswerEnding((" b",), 9), "a"),
        (RECORD, AnswerEnding((), 9), AnswerEnding(("Q",), 5), "a b c"),
        (RECORD, AnswerEnding((), 9), AnswerEnding((), 2), "a b"),
        (RECORD, AnswerEnding((), 9), AnswerEnding((" c",), 2), "a b"),
        (RECORD, AnswerEnding((), 9), AnswerEnding((" b",), 2), "a"),
        (STOPPED, AnswerEnding(("\nQ:",), 9), AnswerEnding(("\n",), 9), "a b c"),
        (STOPPED, AnswerEnding(("\nQ:",), 9), AnswerEnding(("Q",), 9), "a b c\n"),
        (STOPPED, AnswerEnding(("\nQ:",), 9), AnswerEnding((), 9), None),
        (STOPPED, AnswerEnding(("\nQ:",), 9), AnswerEnding((), 2), "a b"),
        (LONG, AnswerEnding((), 3), AnswerEnding((), 4), None),
        (LONG, AnswerEnding((), 3), AnswerEnding(("b",), 4), "a "),
        (LONG, AnswerEnding((), 3), AnswerEnding(("x",), 3), "a b c"),
        (LONG, AnswerEnding((), 8), AnswerEnding((), 16), "a b c"),  # the context was full
        (UNKNOWN, AnswerEnding((), 9), AnswerEnding(("b",), 9), "a "),
        (UNKNOWN, AnswerEnding(("x",), 9), AnswerEnding(("x", "y"), 9), "a b c"),
        (UNKNOWN, AnswerEnding(("x",), 9), AnswerEnding(("y",), 9), None),
        (UNKNOWN, AnswerEnding((), 9), AnswerEnding((), 12), "a b c"),  # five bytes are at most five tokens
        (UNKNOWN, AnswerEnding((), 5), AnswerEnding((), 12), None),
        (UNKNOWN, AnswerEnding((), 12), AnswerEnding((), 3), None),
    ],
)
def test_what_is_known_of_an_answer_under_another_ending(
    record: AnswerRecord, own: AnswerEnding, wanted: AnswerEnding, text: str | None
) -> None:
    found = replay(record, own, wanted)
    assert (found.text if found else None) == text


@settings(max_examples=60, deadline=None)
@given(st.text("abQ\n", max_size=12), st.lists(st.text("abQ\n", min_size=1, max_size=2), max_size=2))
def test_under_its_own_ending_an_answer_is_itself(text: str, stops: list[str]) -> None:
    at, stop = min(((text.find(each), each) for each in stops if each in text), default=(len(text), ""))
    record = AnswerRecord(
        "t", "1", response=text[:at], tail=text[at:], stop_string=stop, finish_reason="stop", tokens=len(text),
        token_lengths=(1,) * len(text),
    )  # fmt: skip
    own = AnswerEnding(tuple(stops), 50)
    assert replay(record, own, own) == ReplayedAnswer(text[:at], False)


def test_an_answer_of_nothing_stays_nothing() -> None:
    empty = AnswerRecord("t", "1", finish_reason="stop")
    assert replay(empty, AnswerEnding((), 5), AnswerEnding(("x",), 9)) == ReplayedAnswer("", False)
    unanswered = replace(empty, finish_reason="length")
    assert replay(unanswered, AnswerEnding((), 5), AnswerEnding((), 5)) == ReplayedAnswer("", True)


@pytest.mark.parametrize(
    ("record", "own", "other", "target", "text"),
    [
        ("ab cd", AnswerEnding(), ("ab", "length"), AnswerEnding((), 1), "ab"),
        ("ab", AnswerEnding((), 1), ("ab cd", "stop"), AnswerEnding(), None),  # it ended by itself, so that they part
        ("ab", AnswerEnding((" c",)), ("ab cd", "stop"), AnswerEnding(), "ab cd"),
        ("ab", AnswerEnding(("x",)), ("ab cd", "stop"), AnswerEnding(), None),
        ("ab cd", AnswerEnding(), ("ab", "stop"), AnswerEnding(("x",)), None),
        ("ab", AnswerEnding(), ("x", "stop"), AnswerEnding(), None),
    ],
)
def test_the_same_models_other_answer_tells_how_one_goes_on(
    record: str, own: AnswerEnding, other: tuple[str, str], target: AnswerEnding, text: str | None
) -> None:
    first, second = (
        AnswerRecord("t", "1", response=response, finish_reason=reason)
        for response, reason in ((record, "stop"), other)
    )
    found = replay_as(first, own, second, target)
    assert (found.text if found else None) == text
