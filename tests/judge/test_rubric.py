"""Points that a model gives: asked with all that was said, and read where they stand."""

from __future__ import annotations

import pytest

from herd.core.records import Conversation, Message
from herd.generate.samplers import ScriptedSampler
from herd.judge.rubric import (
    ANSWER_RUBRICS,
    CODE_RUBRIC,
    GENERAL_RUBRIC,
    AnswerRubric,
    points_in,
    rubric_points,
    transcript,
)


def test_a_rubric_gives_points_or_says_that_it_has_none() -> None:
    said = {"a": "It is right. score: 3", "b": "Score: **2**", "c": "wonderful!", "d": "score: 9"}
    talk = [Conversation((Message("user", "?"), Message("assistant", text)), id=text) for text in said]
    found = rubric_points(talk, ScriptedSampler(lambda asked: said[asked.id]), GENERAL_RUBRIC)
    assert found == [1.0, 0.5, None, None]
    assert CODE_RUBRIC.points("score: 1") == 1.0
    assert "the conversation" in GENERAL_RUBRIC.ask(talk[0]).last.content


@pytest.mark.parametrize(
    ("said", "points"),
    [
        ("score: 2", 2.0),
        ("**Score**: 3/3", 3.0),
        ("Score = `1`", 1.0),
        ("score: 1 at first, but the final score: 3", 3.0),
        ("score: 3, no: score: 4", None),  # the last one counts, and may not be given
        ("score: 0", None),
        ("three points", None),
        ("", None),
    ],
)
def test_the_last_points_count_where_they_may_be_given(said: str, points: float | None) -> None:
    assert points_in(said, 1, 3) == points
    assert GENERAL_RUBRIC.points(said) == points


def test_points_may_stand_elsewhere() -> None:
    assert points_in("grade B2, grade B1", 0, 5, parse=r"B(\d)") == 1.0


def test_a_judge_is_shown_the_end_of_what_was_said_under_its_roles() -> None:
    talk = Conversation((Message("user", "why? " * 3000), Message("assistant", "so it is")), id="a")
    assert transcript(talk).endswith("\n\n[assistant]\nso it is")
    asked = AnswerRubric("Is it right?", 0, 1).ask(talk)
    assert asked.id == "a"
    (message,) = asked.messages
    assert message.content.startswith("Is it right?\n\n--- the conversation ---\n")
    assert message.content.endswith("[assistant]\nso it is\n--- its end ---")
    assert 6000 < len(message.content) < 6200


@pytest.mark.parametrize("rubric", ANSWER_RUBRICS.values())
def test_points_become_shares_of_what_may_be_given(rubric: AnswerRubric) -> None:
    talk = Conversation((Message("user", "?"), Message("assistant", "!")))
    for points, share in ((rubric.lowest, 0.0), (rubric.highest, 1.0), (rubric.highest + 1, None)):
        assert rubric_points([talk], ScriptedSampler(lambda _, points=points: f"score: {points}"), rubric) == [share]
        assert f"Give {rubric.highest} if" in rubric.question
    assert rubric_points([], ScriptedSampler(lambda _: ""), rubric) == []
