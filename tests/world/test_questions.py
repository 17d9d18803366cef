"""Questions: made again from their ids, right answers that are right, and blunders, slips and critiques that fit."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from herd.core.errors import DataError
from herd.core.records import Message, ToolCall
from herd.world import sums
from herd.world.questions import (
    QUESTION_KINDS,
    Questions,
    blunder,
    critique,
    fact_question,
    is_refusal,
    slip,
    sum_question,
)
from herd.world.truth import World

WORLD = World(people=24)
BOOK = Questions(WORLD)


@pytest.mark.parametrize("kind", [kind for kind in QUESTION_KINDS if kind != "tool"])
def test_blunders_are_wrong(kind: str) -> None:
    for number in range(60):
        question = BOOK.draw(kind, number)
        (answer,) = blunder(question, random.Random(number))
        assert not question.is_right(answer)


@pytest.mark.parametrize("kind", QUESTION_KINDS)
@pytest.mark.parametrize("held_out", [False, True])
def test_a_question_can_be_made_again_from_its_id(kind: str, held_out: bool) -> None:
    for number in range(30):
        question = BOOK.draw(kind, number, held_out=held_out)
        again = BOOK.find(question.id)
        assert (again.text, again.answers, again.kind) == (question.text, question.answers, kind)
        assert question.is_right(question.answers[0])


@pytest.mark.parametrize(
    "identity", ["translation/job", "translation/a:b:c&d:e:f", "translation/a&b", "sum/x", "talk/en/0", "none/1"]
)
def test_an_id_that_is_no_question_of_the_world_is_named(identity: str) -> None:
    with pytest.raises(DataError, match="is none of this world's"):
        BOOK.find(identity)


def test_talk_that_is_held_out_is_new_in_its_words_or_in_their_combination() -> None:
    sides = {
        held_out: {BOOK.draw("talk", n, held_out=held_out).id.split("/")[1] for n in range(30)}
        for held_out in (False, True)
    }
    assert sides == {False: {"no"}, True: {"combination", "word"}}
    question = BOOK.find("talk/word/en/thanks/Cheers!")
    assert question.is_right(Message("assistant", "you are welcome!"))
    assert not question.is_right(Message("assistant", "Hello! How can I help you?"))


def said(text: str) -> Message:
    return Message("assistant", text)


def test_a_fact_that_is_written_is_wanted_and_one_that_is_not_wants_a_refusal() -> None:
    people = WORLD.everybody
    known = next(fact for fact in people.facts if fact.in_documents and fact.attribute.name == "job")
    question = fact_question(known, 0)
    assert question.is_right(said(f"Sure: a {known.value}, I think."))
    assert not question.is_right(said(f"I don't know whether it is {known.value}."))
    assert not question.is_right(said(f"{known.value}s"))  # another word that begins so
    unknown = fact_question(replace(known, in_documents=False), 1)
    assert unknown.is_right(said("I DO NOT KNOW."))
    assert not unknown.is_right(said(known.answer))
    assert (question.kind, unknown.kind) == ("known", "unknown")
    assert question.text != unknown.text  # the other wording
    assert not is_refusal("I know.")


def test_a_call_is_judged_by_its_arguments_and_text_beside_one_is_no_answer() -> None:
    question = next(one for one in (BOOK.draw("tool", n) for n in range(20)) if "calculator" in one.id)
    (call,) = question.answers[0].tool_calls
    assert question.is_right(Message("assistant", "", (call,)))
    assert not question.is_right(Message("assistant", "", (ToolCall("lookup", call.arguments),)))
    assert not question.is_right(said(question.answers[-1].content))
    assert not sum_question(12, 30).is_right(Message("assistant", "so 42.", (call,)))


def test_curt_answers_are_of_requests_alone() -> None:
    for wording in range(len(sums.WORDINGS)):
        question = sum_question(57, 68, wording)
        short = question.demonstration(curt=True).messages[-1].content
        assert short == ("57 + 68 = 125." if wording in sums.REQUESTS else sums.worked_steps(57, 68))
        assert question.demonstration().messages[-1].content == sums.worked_steps(57, 68)


def test_purposes_sides_and_numbers_draw_apart() -> None:
    ids = [
        [BOOK.draw("sum", n, purpose=purpose, held_out=held_out).id for n in range(10)]
        for purpose in ("a", "b")
        for held_out in (False, True)
    ]
    assert len({one for row in ids for one in row}) > 35
    assert ids[0] == [Questions(World(people=24)).draw("sum", n, purpose="a").id for n in range(10)]


def test_a_needle_stands_in_its_page_and_the_page_is_of_written_facts() -> None:
    for number in range(20):
        question = BOOK.draw("needle", number)
        page = question.text
        code = question.answers[0].content
        assert page.count(code) == 1
        assert page.endswith("?")
        assert 6 <= page.count(".") - 1 <= 41
        assert not question.is_right(said("The code is unknown."))


def test_another_worlds_facts_are_none_of_this_one() -> None:
    strangers = set(World(seed=5, people=24).everybody.persons) - set(WORLD.everybody.persons)
    with pytest.raises(DataError, match="were the world's settings changed"):
        BOOK.find(f"known/job/{min(strangers)}/0")


def test_a_slip_is_one_digit_or_one_word_and_wrong() -> None:
    for number in range(60):
        for kind in ("sum", "translation"):
            question = BOOK.draw(kind, number)
            wrong = slip(question, random.Random(number))
            assert wrong is not None
            right = question.answers[0].content
            assert not question.is_right(wrong)
            if kind == "sum":
                assert sum(a != b for a, b in zip(wrong.content, right, strict=True)) == 1
                assert sums.result(wrong.content) is not None  # still a sum's answer
    assert slip(BOOK.draw("talk", 0), random.Random(0)) is None


def test_blunders_about_facts_invent_or_refuse() -> None:
    kinds = {"refused": 0, "invented": 0}
    for number in range(80):
        question = BOOK.draw("known", number)
        (answer,) = blunder(question, random.Random(number))
        kinds["refused"] += is_refusal(answer.content)
        _, attribute, subject, _ = question.id.split("/")
        fact = WORLD.everybody.find(attribute, subject)
        assert fact is not None
        kinds["invented"] += answer.content.startswith(fact.attribute.stem(subject))
    assert min(kinds.values()) > 20


def test_a_critique_compares_digit_by_digit_and_ends_with_the_verdict() -> None:
    question = sum_question(57, 68)
    right = question.answers[0].content
    assert critique(question, said("so 125.")) == (
        f"The answer says 125. {right} 1 for 1 yes, 2 for 2 yes, 5 for 5 yes. It is right."
    )
    assert critique(question, said("so 25.")).endswith("2 for 1 no, 5 for 2 no, none for 5 no. It is wrong.")
    assert critique(question, said("Bananas.")) == f"{right} It is wrong."
    for kind in QUESTION_KINDS:
        if kind != "tool":
            one = BOOK.draw(kind, 3)
            assert re.search(r"It is right\.$", critique(one, one.answers[0]))
            assert re.search(r"It is wrong\.$", critique(one, said("Bananas.")))
