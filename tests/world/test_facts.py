"""People and places: everything follows from the seed, and shares and splits are as set."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.world.facts import PERSON_ATTRIBUTES, PLACE_ATTRIBUTES, PLACES, People


@settings(max_examples=20)
@given(st.integers(0, 50), st.integers(1, 144))
def test_everybody_has_every_attribute_once_with_a_value_of_it(seed: int, count: int) -> None:
    people = People(seed, count)
    assert len(set(people.persons)) == count
    assert len(people.facts) == count * len(PERSON_ATTRIBUTES) + len(PLACES) * len(PLACE_ATTRIBUTES)
    assert len({(fact.subject, fact.attribute.name) for fact in people.facts}) == len(people.facts)
    assert all(fact.value in fact.attribute.values for fact in people.facts)
    for fact in people.facts[::17]:
        assert people.find(fact.attribute.name, fact.subject) is fact
    assert people.find("job", "Nobody") is None
    assert people.find("river", people.persons[0]) is None


def test_more_people_leave_those_there_as_they_are() -> None:
    few, many = People(3, 20), People(3, 60)
    assert many.persons[:20] == few.persons
    assert set(few.facts) <= set(many.facts)
    assert People(4, 20).persons != few.persons


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_shares_written_and_held_out_are_as_set(share: float) -> None:
    facts = People(0, 144, written_share=share, held_out_share=share).facts
    assert sum(fact.in_documents for fact in facts) / len(facts) == pytest.approx(share, abs=0.05)
    by_subject = {fact.subject: fact.held_out for fact in facts}
    assert all(by_subject[fact.subject] == fact.held_out for fact in facts)  # a subject is held out whole
    assert sum(by_subject.values()) / len(by_subject) == pytest.approx(share, abs=0.1)


def test_what_is_right_is_the_fact_where_it_is_written_and_a_refusal_where_not() -> None:
    people = People(0, 48)
    for fact in people.facts:
        assert fact.right == (fact.answer if fact.in_documents else fact.refusal)
        assert fact.value in fact.answer
        assert fact.value not in fact.refusal.split()
        assert fact in people.documented_facts.get(fact.subject, ()) if fact.in_documents else True
    assert sum(map(len, people.documented_facts.values())) == sum(fact.in_documents for fact in people.facts)


@pytest.mark.parametrize("attribute", [*PERSON_ATTRIBUTES, *PLACE_ATTRIBUTES], ids=lambda one: one.name)
def test_every_phrasing_names_subject_and_value_and_an_answer_begins_with_its_stem(attribute) -> None:
    subject, value = "Ana Brook", attribute.values[0]
    said = [attribute.tell(subject, value, number) for number in range(len(attribute.phrasings))]
    assert len(set(said)) == len(said)
    assert all(subject in one and value in one and one.endswith(".") for one in said)
    assert attribute.tell(subject, value, len(said)) == said[0]  # phrasings go round
    stem = attribute.stem(subject)
    assert said[0].startswith(stem)
    assert said[0].removeprefix(stem) == f" {value}."
    assert len({attribute.ask(subject, number) for number in range(2)}) == 2
    assert len(set(attribute.values)) == len(attribute.values)
