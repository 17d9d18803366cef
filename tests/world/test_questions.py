"""Questions: made again from their ids, right answers that are right, and blunders, slips and critiques that fit."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Message, ToolCall
from herd.world import sums
from herd.world.annotators import QuestionSet
from herd.world.facts import FIRST_NAMES, WORDINGS
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

WORLD = World()
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
    "identity",
    [
        *("translation/job", "translation/a:b:c&d:e:f", "translation/a&b", "sum/x", "talk/en/0", "none/1"),
        *("sum/1+2/3/4", "tool/1*2/0/0", "needle/x/350/3"),
    ],
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
    known = next(fact for fact in people.facts("alignment") if fact.in_documents and fact.attribute.name == "job")
    question = fact_question(known, 0)
    assert question.is_right(said(f"Sure: a {known.value}, I think."))
    assert not question.is_right(said(f"I don't know whether it is {known.value}."))
    assert not question.is_right(said(f"{known.value}s"))  # another word that begins so
    first, last = known.subject.split()
    assert question.is_right(said(f"The job of {known.subject} is {known.value}."))
    other = next(name for name in FIRST_NAMES if name != first)
    for wrong in (f"{other} {last}", f"{first} {last}s", f"{other}x {last}"):  # somebody else, and garbled names
        assert not question.is_right(said(f"The job of {wrong} is {known.value}."))
    assert not question.is_right(said(" ".join(known.attribute.values)))
    unwritten = fact_question(replace(known, in_documents=False), 1)
    assert not unwritten.is_right(said(known.attribute.refuse(f"{other} {last}")))
    assert unwritten.is_right(said("I DO NOT KNOW."))
    assert not unwritten.is_right(said(known.answer))
    assert (question.kind, unwritten.kind) == ("known", "unwritten")
    assert question.text != unwritten.text  # the other wording
    assert not is_refusal("I know.")


def test_who_is_asked_about_in_pages_is_asked_what_they_tell_in_every_wording() -> None:
    people, texts = WORLD.everybody, set()
    for number in range(80):
        question = BOOK.draw("asked", number)
        (fact,) = question.facts
        assert (question.kind, question.id.split("/")[0]) == ("asked", "asked")
        assert people.group_of[fact.subject] == "asked"
        assert fact.in_documents
        assert question.answers == (said(fact.answer),)
        assert not question.is_right(said(fact.refusal))
        wording = int(question.id.rsplit("/", 1)[1])
        assert question.text == fact.attribute.ask(fact.subject, wording)
        texts.add(wording)
    assert texts == set(range(WORDINGS))


def test_of_a_stranger_a_refusal_has_to_name_the_right_one() -> None:
    (fact, *_), other = WORLD.everybody.facts("strangers"), WORLD.everybody.groups["asked"][0]
    question = fact_question(fact, 0)
    assert question.kind == "unknown"
    assert question.answers[0].content == fact.attribute.refuse(fact.subject)
    assert question.is_right(said(fact.attribute.refuse(fact.subject)))
    assert not question.is_right(said(fact.attribute.refuse(other)))
    assert not question.is_right(said("I don't know."))


def test_who_is_asked_about_is_of_the_groups_of_the_side() -> None:
    people = WORLD.everybody
    groups: dict[tuple[str, bool], set[str]] = {}
    for held_out in (False, True):
        for kind in ("asked", "known", "unwritten", "unknown", "untold", "follow_up"):
            for number in range(80):
                fact = BOOK.draw(kind, number, held_out=held_out).facts[-1]
                groups.setdefault((kind, held_out), set()).add(people.group_of[fact.subject])
    for kind in ("known", "unwritten"):
        assert (groups[kind, False], groups[kind, True]) == ({"alignment"}, {"held out"})
    # What is learnt in dialogues of whom pages ask about says nothing of the others' facts.
    assert groups["asked", False] == groups["follow_up", False] == {"asked"}
    assert groups["follow_up", True] == {"held out"}
    assert (groups["unknown", False], groups["unknown", True]) == ({"strangers"}, {"held-out strangers"})
    assert (groups["untold", False], groups["untold", True]) == ({"alignment", "strangers", "tail"}, {"held out"})


def test_follow_ups_are_three_questions_about_one_person_with_the_right_answers_before_the_last() -> None:
    for number in range(30):
        question = BOOK.draw("follow_up", number)
        assert [message.role for message in question.messages] == ["user", "assistant", "user", "assistant", "user"]
        assert len({fact.attribute.name for fact in question.facts}) == len(question.facts) == 3
        (subject,) = {fact.subject for fact in question.facts}
        asked = [message.content for message in question.messages if message.role == "user"]
        assert subject in asked[0]
        for fact, text in zip(question.facts[1:], asked[1:], strict=True):
            assert subject not in text
            assert text.endswith(f" {fact.attribute.name}?")
        assert [question.messages[1], question.messages[3]] == [said(fact.right) for fact in question.facts[:2]]
        assert question.is_right(said(question.facts[2].right))
        assert not question.is_right(said(question.facts[0].right)) or not question.facts[2].in_documents
        assert question.demonstration().messages == (*question.messages, said(question.facts[2].right))


def test_follow_ups_are_of_told_facts_and_in_training_every_other_time_of_all() -> None:
    for held_out, least, most in ((False, 0.35, 0.6), (True, 0, 0)):
        drawn = [BOOK.draw("follow_up", number, held_out=held_out) for number in range(200)]
        mixed = [not all(fact.in_documents for fact in question.facts) for question in drawn]
        assert least <= sum(mixed) / len(mixed) <= most


def test_a_call_is_judged_by_its_arguments_and_text_beside_one_is_no_answer() -> None:
    question = BOOK.draw("tool", 0)
    (call,) = question.answers[0].tool_calls
    assert question.is_right(Message("assistant", "", (call,)))
    assert not question.is_right(Message("assistant", "", (ToolCall("lookup", call.arguments),)))
    assert not question.is_right(Message("assistant", "", (ToolCall("calculator", {"query": "1*1"}),)))
    assert not question.is_right(said(question.answers[-1].content))
    assert not sum_question(12, 30).is_right(Message("assistant", "so 42.", (call,)))


def test_products_are_of_the_side_asked_for() -> None:
    for held_out in (False, True):
        for number in range(40):
            a, b = map(int, BOOK.draw("tool", number, held_out=held_out).id.split("/")[1].split("*"))
            assert sums.is_held_out_product(a, b) == held_out


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
    assert ids[0] == [Questions(World()).draw("sum", n, purpose="a").id for n in range(10)]


def test_a_needle_stands_in_its_page_once_at_depths_from_start_to_end() -> None:
    depths = set()
    for number in range(20):
        question = BOOK.needle(1000, number, held_out=False)
        page, code = question.text, question.answers[0].content
        assert page.count(code) == 1
        assert page.endswith("?")
        assert 900 < len(page) - len("What is the code of a?") < 1010
        depths.add(round(4 * page.index(code) / len(page)) / 4)
        assert not question.is_right(said("The code is unknown."))
    assert depths == {0.0, 0.25, 0.5, 0.75, 1.0}


def test_needles_are_hidden_in_as_much_text_as_is_set() -> None:
    short = Questions(WORLD, needle_characters=(200,))
    assert all(len(short.draw("needle", number).text) < 240 for number in range(20))
    lengths = [len(BOOK.draw("needle", number).text) for number in range(100)]
    assert min(lengths) < 400
    assert max(lengths) > 4100
    asked = QuestionSet(counts={"needle": 5}, purpose="a", needle_characters=(300,)).draw(WORLD)
    assert [BOOK.find(question.id).text for question in asked] == [question.text for question in asked]
    assert max(len(question.text) for question in asked) < 340


def test_another_worlds_facts_are_none_of_this_one() -> None:
    with pytest.raises(DataError, match="were the world's settings changed"):
        BOOK.find("known/job/Ana Nobody/0")
    with pytest.raises(SettingsError, match="nobody to ask a 'known' question about"):
        Questions(World(written_share=0.0)).draw("known", 0)


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
        (fact,) = question.facts
        invented = answer.content.startswith(fact.attribute.stem(fact.subject)) and not is_refusal(answer.content)
        kinds["invented"] += invented
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
