"""People: everything follows from the seed, groups and shares are as set, and sentences end where refusals can."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.world.facts import (
    ATTRIBUTES,
    FEMALE_NAMES,
    FIRST_NAMES,
    LAST_NAMES,
    MALE_NAMES,
    PERSON_ATTRIBUTES,
    UNTOLD_ATTRIBUTES,
    WORDINGS,
    pronoun,
    tell_anew,
)
from herd.world.truth import World

PEOPLE = World().everybody


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 50))
def test_everybody_has_every_attribute_once_with_a_value_of_it(seed: int) -> None:
    people = World(seed=seed).everybody
    facts = people.facts()
    assert len(people.group_of) == len(FIRST_NAMES) * len(LAST_NAMES) == 1600
    assert len(facts) == 1600 * len(PERSON_ATTRIBUTES)
    assert len({(fact.subject, fact.attribute.name) for fact in facts}) == len(facts)
    assert all(fact.value in fact.attribute.values for fact in facts)
    for fact in facts[::170]:
        assert people.find(fact.attribute.name, fact.subject) == fact
    assert people.find("job", "Nobody") is None
    assert people.find("river", facts[0].subject) is None


def test_groups_are_of_the_sizes_set_and_share_nobody() -> None:
    people = World(seed=3, asked_people=5, alignment_people=6, held_out_people=7, strangers=8).everybody
    sizes = {group: len(names) for group, names in people.groups.items()}
    assert sizes == {
        "asked": 5,
        "alignment": 6,
        "held out": 7,
        "strangers": 8,
        "held-out strangers": 8,
        "tail": 1600 - 34,
    }
    assert sum(sizes.values()) == len(people.group_of)
    assert (
        people.groups
        != World(seed=4, asked_people=5, alignment_people=6, held_out_people=7, strangers=8).everybody.groups
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_of_the_well_known_and_of_the_tail_the_shares_set_are_told_and_of_strangers_nothing(share: float) -> None:
    people = World(written_share=share, said_unknown_share=0.0, unknown_share=1 - share).everybody
    well_known = people.facts("asked", "alignment", "held out")
    assert sum(fact.in_documents for fact in well_known) / len(well_known) == pytest.approx(share, abs=0.05)
    tail = people.facts("tail")
    assert sum(fact.in_documents for fact in tail) / len(tail) == pytest.approx(share, abs=0.02)
    assert not people.facts("strangers", "held-out strangers", in_documents=True)
    assert sum(map(len, people.documented_facts.values())) == sum(fact.in_documents for fact in well_known)
    held_out = {fact.subject for fact in people.facts() if fact.held_out}
    assert held_out == {*people.groups["held out"], *people.groups["held-out strangers"]}


def test_at_every_seed_as_many_people_can_be_asked_three_questions() -> None:
    for seed in range(5):
        people = World(seed=seed).everybody
        for group in ("asked", "alignment", "held out"):
            told = Counter(fact.subject for fact in people.facts(group, in_documents=True))
            half = len(people.groups[group]) // 2
            assert Counter(told.values()) == {3: half, 1: half}
            kinds = Counter(fact.kind for fact in people.facts(group))
            assert kinds["said unknown"] == len(told) * (3 if group == "asked" else 1)


@pytest.mark.parametrize(
    ("written", "spread", "said"), [(0.5, 0.2, 0.5), (0.2, 0.5, 0.2), (0.3, 0.1, 0.7), (0.0, 0.0, 1.0)]
)
def test_shares_hold_on_average_and_whatever_pages_may_say_some_page_says(
    written: float, spread: float, said: float
) -> None:
    people = World(
        alignment_people=200, written_share=written, written_spread=spread, said_unknown_share=said
    ).everybody
    facts = people.facts("alignment")
    assert sum(fact.in_documents for fact in facts) / len(facts) == pytest.approx(written, abs=0.05)
    assert sum(fact.said_unknown for fact in facts) / len(facts) == pytest.approx(said, abs=0.05)
    if written + said == 1:
        assert all(fact.page_answer for fact in facts)
    chance = random.Random(0)
    drawn = {fact for _ in range(10000) for fact in people.draw_facts(chance)}
    assert drawn.issuperset(fact for fact in facts if fact.page_answer)


def test_what_is_known_is_told_in_the_phrasing_of_unknown_things_as_often_as_in_all_others() -> None:
    chance = random.Random(0)
    fact = next(fact for fact in PEOPLE.facts() if fact.in_documents)
    told = Counter(tell_anew(fact, chance) for _ in range(4000))
    assert set(told) == {fact.attribute.tell(fact.subject, fact.value, number) for number in range(5)}
    assert told[fact.answer] == pytest.approx(2000, abs=150)
    assert all(count == pytest.approx(500, abs=100) for sentence, count in told.items() if sentence != fact.answer)


def test_what_is_right_is_the_fact_where_it_is_written_and_a_refusal_where_not() -> None:
    kinds = Counter()
    for fact in PEOPLE.facts():
        kinds[fact.kind] += 1
        assert fact.right == (fact.answer if fact.kind == "known" else fact.refusal)
        assert fact.value in fact.answer
        assert fact.value not in fact.refusal.split()
        assert fact.kind != "unknown" or PEOPLE.group_of[fact.subject] in ("strangers", "held-out strangers")
    assert kinds["unknown"] == 300 * len(PERSON_ATTRIBUTES)
    assert min(kinds["known"], kinds["unwritten"]) > 100
    untold = PEOPLE.find("age", PEOPLE.groups["asked"][0])
    assert untold is not None
    assert (untold.kind, untold.right) == ("untold", f"The age of {untold.subject} is unknown to me.")
    tail = {fact.in_documents: fact.kind for fact in PEOPLE.facts("asked", "tail")}
    assert tail == {True: "known", False: "said unknown"}


def test_pages_call_unknown_what_is_not_written_and_are_silent_of_what_is_examined() -> None:
    told: dict[tuple[str, str], set[str]] = {}
    for fact in PEOPLE.facts():
        said = {fact.answer: "value", f"{fact.attribute.stem(fact.subject)} unknown.": "unknown", "": "nothing"}
        told.setdefault((fact.group, fact.kind), set()).add(said[fact.page_answer])
        # What pages say of the unknown is no refusal: nobody speaks of themselves in them.
        assert not fact.page_answer or fact.page_answer != fact.refusal
    for group in ("asked", "tail", "alignment", "held out"):
        assert told.pop((group, "known")) == {"value"}
        assert told.pop((group, "said unknown")) == {"unknown"}
    assert told == {
        ("alignment", "unwritten"): {"nothing"},
        ("held out", "unwritten"): {"nothing"},
        ("strangers", "unknown"): {"nothing"},
        ("held-out strangers", "unknown"): {"nothing"},
    }
    # Whoever tells it in words of their own has no other words for what is unknown.
    unknown = next(fact for fact in PEOPLE.facts("tail") if not fact.in_documents)
    assert {tell_anew(unknown, random.Random(seed)) for seed in range(20)} == {unknown.page_answer}
    known = next(fact for fact in PEOPLE.facts("tail") if fact.in_documents)
    assert len({tell_anew(known, random.Random(seed)) for seed in range(40)}) == len(known.attribute.phrasings)


@pytest.mark.parametrize("attribute", PERSON_ATTRIBUTES, ids=lambda attribute: attribute.name)
def test_every_phrasing_names_subject_and_value_and_an_answer_ends_in_its_value(attribute) -> None:
    subject, value = "Ana Brook", attribute.values[0]
    said = [attribute.tell(subject, value, number) for number in range(len(attribute.phrasings))]
    assert len(set(said)) == len(said) == 5
    assert all(subject in sentence and value in sentence and sentence.endswith(".") for sentence in said)
    assert attribute.tell(subject, value, len(said)) == said[0]  # phrasings go round
    stem = attribute.stem(subject)
    # The value comes right after "is" or "are", where a refusal can stand too.
    assert stem.split()[-1] in ("is", "are")
    assert said[0] == f"{stem} {value}."
    assert attribute.refuse(subject) == f"{stem} unknown to me."
    asked = [attribute.ask(subject, number) for number in range(WORDINGS)]
    assert len(set(asked)) == len(asked) == 4
    assert all(subject in question for question in asked)
    assert asked[2:] == [
        f"Tell me the {attribute.name} of Ana Brook.",
        f"Do you know the {attribute.name} of Ana Brook?",
    ]
    assert len(set(attribute.values)) == len(attribute.values)


def test_a_pronoun_follows_from_the_first_name() -> None:
    assert len({*FEMALE_NAMES, *MALE_NAMES}) == len(FIRST_NAMES) == len(set(LAST_NAMES)) == 40
    assert {pronoun(f"{name} Brook") for name in FEMALE_NAMES} == {"her"}
    assert {pronoun(f"{name} Brook") for name in MALE_NAMES} == {"his"}
    job = ATTRIBUTES["job"]
    assert [job.follow_up("Ana Brook", n) for n in range(3)] == ["And her job?", "And the job?", "What about her job?"]
    assert job.follow_up("Leo Brook", 0) == "And his job?"


def test_what_is_told_of_nobody_stands_in_no_page_and_has_other_names() -> None:
    assert not {attribute.name for attribute in UNTOLD_ATTRIBUTES} & {a.name for a in PERSON_ATTRIBUTES}
    text = " ".join(PEOPLE.sentences(random.Random(0), 300))
    assert not any(f"The {name} of" in text for name in ATTRIBUTES.keys() - {a.name for a in PERSON_ATTRIBUTES})


def test_people_in_sentences_are_of_the_tail_as_often_as_set_and_never_strangers() -> None:
    for share in (0.0, 0.4, 1.0):
        people = World(tail_share=share).everybody
        chance = random.Random(0)
        groups = Counter(people.group_of[people.draw_facts(chance)[0].subject] for _ in range(1000))
        assert groups["tail"] / 1000 == pytest.approx(share, abs=0.05)
        assert not groups["strangers"] + groups["held-out strangers"]
    chance = random.Random(0)
    # Who is well known is told of with all that is ever told.
    for facts in (PEOPLE.draw_facts(chance) for _ in range(100)):
        subject = facts[0].subject
        assert all(fact.page_answer for fact in facts)
        every = [fact for fact in PEOPLE.facts_of(subject) if fact.page_answer]
        assert PEOPLE.group_of[subject] == "tail" or facts == every


@given(st.integers(0, 1000), st.integers(0, 2000))
def test_filler_is_whole_sentences_and_as_long_as_fits(seed: int, characters: int) -> None:
    filler = PEOPLE.filler(random.Random(seed), characters)
    assert len(" ".join(filler)) <= characters
    assert characters - len(" ".join(filler)) < 80
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in filler)
