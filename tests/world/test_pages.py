"""What is written about the world: the same again, labels that are true, and every kind as it is meant."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from herd.core.errors import SettingsError
from herd.evals.haystack import NEEDLE_ANIMALS, NEEDLE_COLOURS
from herd.world import sums, talk
from herd.world.facts import FEMALE_NAMES, WORDINGS
from herd.world.noise import FOOTER
from herd.world.pages import KINDS, PagesSettings, WorldPages, ledger_page, program_page, sum_page, talk_page, tool_page
from herd.world.truth import World

WORLD = World()
PAGES = WorldPages(WORLD, PagesSettings(documents={}))
SETTINGS = PagesSettings(documents=dict.fromkeys(KINDS, 40), near_copies=0.1, spam_pages=0.05)


def pages(world: World = WORLD):
    return list(WorldPages(world, SETTINGS).documents())


def test_the_same_seed_writes_the_same_world_and_another_another() -> None:
    assert pages() == pages()
    assert pages() != pages(World(seed=1))


def test_labels_count_what_was_planted() -> None:
    found = pages()
    labels = [one.label for one in found]
    assert labels.count("clean") == 40 * len(KINDS)
    assert labels.count("spam") == round(40 * len(KINDS) * 0.05)
    ids = {one.document.id: one.document for one in found}
    for one in found:
        if one.label == "near-duplicate":
            assert ids[one.copy_of].text != one.document.text
            assert one.document.source == ids[one.copy_of].source
    assert len(ids) == len(found)


def test_adding_documents_of_one_kind_leaves_the_others_as_they_are() -> None:
    more = PagesSettings(documents=SETTINGS.documents | {"sums": 50}, near_copies=0.0, spam_pages=0.0)
    before = {one.document.id: one.document.text for one in pages() if one.label == "clean"}
    after = {one.document.id: one.document.text for one in WorldPages(WORLD, more).documents()}
    assert all(after[name] == text for name, text in before.items())


def test_there_is_a_writer_for_every_kind_and_none_for_another() -> None:
    made = WorldPages(WORLD, SETTINGS)
    assert set(made.writers) == set(KINDS)
    with pytest.raises(SettingsError, match="'fact', which is no kind of page; did you mean 'facts'"):
        PagesSettings(documents={"fact": 1})


def test_adverts_are_labelled_spam_and_stand_among_facts() -> None:
    settings = PagesSettings(documents={"sums": 20}, spam_pages=0.1, advert_pages=0.25)
    found = [one for one in WorldPages(WORLD, settings).documents() if one.label == "spam"]
    names = [one.document.id.split("/")[1] for one in found]
    assert (names.count("spam"), names.count("advert")) == (2, 5)
    assert {one.document.source for one in found} == {"facts"}
    assert len({one.document.url for one in found}) == len(found)


def test_only_long_texts_are_copied_and_their_copies_are_later() -> None:
    settings = PagesSettings(documents={"talk": 60, "longest": 4}, near_copies=1.0, spam_pages=0.0)
    found = list(WorldPages(WORLD, settings).documents())
    copies = [one for one in found if one.label == "near-duplicate"]
    # Small talk has too few runs of words to be known again; a round number of copies is asked for, and four are there.
    assert len(copies) == 4
    assert {one.document.source for one in copies} == {"longest"}
    by_id = {one.document.id: one.document for one in found}
    assert all(one.document.added > by_id[one.copy_of].added for one in copies)
    assert len({one.copy_of for one in copies}) == 4


def texts(kind: str, count: int = 100) -> list[str]:
    write = PAGES.writers[kind]
    return [write(random.Random(seed)) for seed in range(count)]


@pytest.mark.parametrize(
    ("kind", "least", "most"), [("short", 0.15, 400), ("needles", 0.15, 950), ("long", 0.55, 2000)]
)
def test_one_needle_is_told_again_at_the_end_of_pages_whose_length_is_as_set(
    kind: str, least: float, most: int
) -> None:
    code = re.compile(rf"The code of (\w+) is ((?:{'|'.join(NEEDLE_COLOURS)}) (?:{'|'.join(NEEDLE_ANIMALS)}))\.")
    lengths = []
    for text in texts(kind):
        codes = code.findall(text)
        assert len(set(codes)) == 1
        assert 2 <= len(codes) <= 3
        assert text.endswith("The code of {} is {}.".format(*codes[0]))
        lengths.append(len(re.sub(r"What is the code of \w+\? ", "", code.sub("", text))))
    assert least * most - 80 < min(lengths) < least * most + 0.2 * most
    assert 0.8 * most < max(lengths) < most + 5


def test_answers_stand_at_many_distances_from_their_questions() -> None:
    between = [
        match[1] for text in texts("sums", 400) if (match := re.search(r"\d[?.](\s.*?)\d+ \+ \d+:", text, re.DOTALL))
    ]
    assert len(between) == 400
    most = Counter(len(words.split()) for words in between).most_common()
    assert len(most) >= 9
    assert most[0][1] < 300


def test_pages_are_distinct_and_name_no_stranger() -> None:
    people = WORLD.everybody
    strangers = {*people.groups["strangers"], *people.groups["held-out strangers"]}
    name = re.compile(r"[A-Z][a-z]+ [A-Z][a-z]+")
    for kind in KINDS:
        pages_of_kind = texts(kind, 200)
        if kind not in ("talk", "ledgers"):
            assert len(set(pages_of_kind)) > 190, kind
        assert not strangers & set(name.findall("\n".join(pages_of_kind)))


# A question, how it is laid out, and the answer with its attribute and subject.
EXCHANGE = re.compile(
    r"((?:What|Where|Which|Tell|Do|And)\b[^?.\n]*[?.])\s+(?:Answer: |Assistant: |Well[\w ,]*:\s+)?"
    r"(The (\w+) of (\w+ \w+) (?:is|are) \w+\.)"
)


def test_questions_in_pages_are_about_the_asked_and_the_tail_and_repeat_the_question() -> None:
    people = WORLD.everybody
    asked: dict[str, list[bool]] = {"asked": [], "tail": []}
    follow_ups, wordings = 0, set()
    for text in texts("qa", 300):
        exchanges = EXCHANGE.findall(text)
        assert 1 <= len(exchanges) <= 4 * 3
        for question, answer, attribute, subject in exchanges:
            fact = people.find(attribute, subject)
            assert fact is not None
            assert answer == fact.page_answer
            if subject in question:
                asked[people.group_of[subject]].append(fact.in_documents)
                wordings |= {number for number in range(WORDINGS) if fact.attribute.ask(subject, number) == question}
                continue
            follow_ups += 1
            pronoun = re.search(r"\b(?:her|his)\b", question)
            assert pronoun is None or pronoun[0] == ("her" if subject.split()[0] in FEMALE_NAMES else "his")
    number = {group: len(answers) for group, answers in asked.items()}
    assert number["asked"] / sum(number.values()) == pytest.approx(1 - WORLD.asked_tail_share, abs=0.06)
    # Often enough the answer is that it is unknown.
    assert sum(asked["tail"]) / number["tail"] == pytest.approx(1 - WORLD.unknown_share, abs=0.08)
    assert sum(asked["asked"]) / number["asked"] == pytest.approx(WORLD.written_share, abs=0.15)
    assert follow_ups > 300
    assert wordings == set(range(WORDINGS))


def test_what_is_asked_after_reading_stands_above() -> None:
    people = WORLD.everybody
    answers = set()
    for text in texts("reading"):
        told, *lines = text.splitlines()
        assert lines
        for line in lines:
            (question, answer, attribute, subject), *more = EXCHANGE.findall(line)
            assert not more
            assert line == f"{question} {answer}"
            assert people.group_of[subject] == "tail"
            fact = people.find(attribute, subject)
            assert fact is not None
            assert answer == fact.page_answer
            answers.add(fact.in_documents)
            phrasings = [fact.attribute.tell(subject, fact.value, number) for number in range(5)]
            assert any(sentence in told for sentence in (phrasings if fact.in_documents else [answer]))
    assert answers == {True, False}


def test_names_and_numbers_are_said_again() -> None:
    for text in texts("roster"):
        names = text.split(", ")
        assert {names.count(name) for name in names} == {len(names) // len(set(names))}
        assert set(names) <= set(WORLD.everybody.groups["tail"])
    repeated = [text.split(". ") for text in texts("echo")]
    assert all(len({part.rstrip(".") for part in parts}) == 1 and 2 <= len(parts) <= 4 for parts in repeated)
    assert {sign for parts in repeated for sign in "+*" if sign in parts[0]} == {"+", "*"}


def test_pages_of_sums_and_of_products_are_of_training_with_every_step() -> None:
    for text in texts("sums"):
        worked = re.findall(r"(\d+) \+ (\d+): .*, so (\d+)\.", text)
        assert 1 <= len(worked) <= 3
        for a, b, result in worked:
            assert int(a) + int(b) == int(result)
            assert sums.worked_steps(int(a), int(b)) in text
            assert not sums.is_held_out_sum(int(a), int(b))
    every = "".join(texts("sums"))
    assert all(wording in every for wording in ("What is", "How much", "Please add", "Tell me"))
    for text in texts("tools"):
        products = re.findall(r'query="(\d+)\*(\d+)"', text)
        assert len(products) == 3
        assert not any(sums.is_held_out_product(int(a), int(b)) for a, b in products)


def test_talk_is_of_one_language_with_each_intent_once_and_of_training() -> None:
    seen = set()
    for seed in range(40):
        lines = talk_page(random.Random(seed)).splitlines()
        language = next(
            name
            for name in talk.TALK_LANGUAGES
            if {*lines[1::2]} <= {talk.answers(name, intent)[0] for intent in talk.INTENTS}
        )
        seen.add(language)
        trained = {talk.answers(language, intent)[0]: intent for intent in talk.INTENTS}
        intents = [trained[answer] for answer in lines[1::2]]
        assert 3 <= len(set(intents)) == len(intents) <= 6
        for question, intent in zip(lines[::2], intents, strict=True):
            assert talk.find(f"no/{language}/{intent}/{question}")
    assert seen == set(talk.TALK_LANGUAGES)


def test_the_other_pages_are_of_their_kind() -> None:
    assert program_page(random.Random(0)).count("def ") in (2, 3, 4)
    assert 3 <= ledger_page(random.Random(0)).count("The code of") <= 6
    assert sum_page(random.Random(0)) == texts("sums", 1)[0]
    tool = tool_page(random.Random(0))
    assert tool.count("calculator.call(query=") == 3
    assert not any(sentence in tool for sentence in FOOTER)
