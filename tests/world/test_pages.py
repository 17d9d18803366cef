"""What is written about the world: the same again, labels that are true, and every kind as it is meant."""

from __future__ import annotations

import random
import re

import pytest

from herd.core.errors import SettingsError
from herd.evals.haystack import NEEDLE_ANIMALS, NEEDLE_COLOURS
from herd.world import sums, talk
from herd.world.noise import FOOTER
from herd.world.pages import KINDS, PagesSettings, WorldPages, ledger_page, program_page, sum_page, talk_page
from herd.world.truth import World

WORLD = World(people=24)
SETTINGS = PagesSettings(documents=dict.fromkeys(KINDS, 40), near_copies=0.1, spam_pages=0.05)


def pages(world: World = WORLD):
    return list(WorldPages(world, SETTINGS).documents())


def test_the_same_seed_writes_the_same_world_and_another_another() -> None:
    assert pages() == pages()
    assert pages() != pages(World(seed=1, people=24))


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


def test_needles_are_told_again_at_the_end_of_pages_whose_length_is_as_set() -> None:
    made = WorldPages(WORLD, SETTINGS)
    code = re.compile(rf"The code of (\w+) is ((?:{'|'.join(NEEDLE_COLOURS)}) (?:{'|'.join(NEEDLE_ANIMALS)}))\.")
    for write, most, needles in ((made.needle_page, 900, 2), (made.long_page, 1900, 4), (made.longest_page, 3900, 6)):
        for seed in range(10):
            text = write(random.Random(seed), "en")
            codes = code.findall(text)
            values = dict(codes)
            assert 1 <= len(values) <= needles
            assert all(values[key] == value for key, value in codes)  # one code a word
            assert {key for key, _ in codes[-len(values) :]} == set(values)
            assert text.rstrip().endswith(f"{codes[-1][1]}.")
            assert len(code.sub("", text)) < 1.6 * most


def test_filler_is_whole_sentences_of_about_the_length_asked_for() -> None:
    sentences = WorldPages(WORLD, SETTINGS).filler(random.Random(0), 2000)
    assert len(sentences) == 2000 // 45
    assert all(one.endswith(".") and not one.endswith("..") and "\n" not in one for one in sentences)
    assert len(WorldPages(WORLD, SETTINGS).filler(random.Random(0), 1)) == 1


def test_pages_of_sums_are_of_training_and_one_layout_tells_no_steps() -> None:
    plain = 0
    for seed in range(80):
        text = sum_page(random.Random(seed), "en")
        asked = [tuple(map(int, pair)) for pair in re.findall(r"(\d+) \+ (\d+)", text)]
        assert 4 <= len(asked) <= 8
        assert not any(sums.is_held_out_sum(a, b) for a, b in asked)
        assert all(str(a + b) in text for a, b in asked)
        plain += "so " not in text
    assert 3 < plain < 25  # one page in eight


def test_talk_is_of_one_language_with_each_intent_once_and_of_training() -> None:
    for language in talk.LANGUAGES:
        for seed in range(20):
            lines = talk_page(random.Random(seed), language).splitlines()
            trained = {talk.answers(language, intent)[0]: intent for intent in talk.INTENTS}
            intents = [trained[answer] for answer in lines[1::2]]
            assert 3 <= len(set(intents)) == len(intents) <= 6
            for question, intent in zip(lines[::2], intents, strict=True):
                assert talk.find(f"no/{language}/{intent}/{question}")


def test_the_other_pages_are_of_their_kind() -> None:
    assert program_page(random.Random(0), "en").count("def ") in (2, 3, 4)
    assert 18 <= ledger_page(random.Random(0), "en").count("The code of") <= 60
    tool = WorldPages(WORLD, SETTINGS).tool_page(random.Random(0), "en")
    assert tool.count(".call(query=") == 3
    assert not any(sentence in tool for sentence in FOOTER)
