"""Small talk: the same exchanges in every language, told apart by their words."""

from __future__ import annotations

from herd.world.talk import TALK


def test_talk_has_the_same_exchanges_in_every_language() -> None:
    assert set(TALK) == {"en", "de", "es"}
    assert len({len(exchanges) for exchanges in TALK.values()}) == 1


def test_a_question_has_one_answer_in_one_language() -> None:
    """Tasks grade by the very words: a question that stood twice could be answered two ways."""
    questions = [question for exchanges in TALK.values() for question, _ in exchanges]
    answers = [answer for exchanges in TALK.values() for _, answer in exchanges]
    assert len(set(questions)) == len(questions)
    assert len(set(answers)) == len(answers)
    assert not set(questions) & set(answers)
    assert all(one == one.strip() and "\n" not in one for one in (*questions, *answers))
