"""What the world holds to be true: yes or no to its own questions, and nothing to others."""

from __future__ import annotations

import pytest

from herd.core.records import Conversation, Message
from herd.judge.verifiers import verifiers
from herd.world.questions import QUESTION_KINDS, Questions
from herd.world.truth import World
from herd.world.verifiers import true_in_world

WORLD = World()


@pytest.mark.parametrize("kind", QUESTION_KINDS)
def test_a_right_answer_is_true_and_a_wrong_one_is_not(kind: str) -> None:
    for number in range(5):
        question = Questions(WORLD).draw(kind, number, held_out=bool(number % 2))
        assert true_in_world(question.prompt, question.answers[0], None, world=WORLD) is True
        assert true_in_world(question.prompt, Message("assistant", "Bananas."), None, world=WORLD) is False


def test_of_a_prompt_that_is_none_of_its_questions_it_says_nothing() -> None:
    for name in ("", "sum/x", "gsm8k/1", "known/job/Nobody/0"):
        prompt = Conversation((Message("user", "Hi!"),), name)
        assert true_in_world(prompt, Message("assistant", "Hello."), None, world=WORLD) is None


def test_a_recipe_uses_it_with_the_world_it_is_about() -> None:
    use = verifiers.configure("herd.world.verifiers:true_in_world", world=WORLD)
    check = verifiers.make(verifiers.parse(verifiers.dump(use)))
    fact = next(fact for fact in WORLD.everybody.facts("asked") if fact.in_documents)
    prompt = Conversation((Message("user", "?"),), f"known/{fact.attribute.name}/{fact.subject}/0")
    assert check(prompt, Message("assistant", fact.answer), None) is True
    # Where nobody wrote it down, the honest answer is another.
    untold = verifiers.configure("herd.world.verifiers:true_in_world", world=World(written_share=0))
    assert verifiers.make(untold)(prompt, Message("assistant", fact.answer), None) is False
