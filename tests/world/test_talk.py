"""Small talk: every wording means one thing, held-out words stand nowhere, and a reply counts by one narrow rule."""

from __future__ import annotations

import random
import re
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.world import talk
from herd.world.pages import KINDS, PagesSettings, WorldPages
from herd.world.talk import FREQUENT, INTENTS, TALK_LANGUAGES, HeldOut
from herd.world.truth import World

SIDES: tuple[HeldOut, ...] = ("no", "combination", "word")
EVERY = [(language, intent) for language in TALK_LANGUAGES for intent in INTENTS]
HELLO = {"en": "Hello", "de": "Hallo", "es": "¡Hola"}


def test_the_languages_have_the_same_intents_and_enough_wordings_of_each() -> None:
    assert TALK_LANGUAGES == ("de", "en", "es")
    for intent in INTENTS:
        counts = [len(talk.wordings(language, intent)) for language in TALK_LANGUAGES]
        assert min(counts) >= (20 if intent in FREQUENT else 4), intent
        assert sum(counts) >= (60 if intent in FREQUENT else 12), intent


def test_words_mean_one_intent_of_one_language_on_one_side() -> None:
    """Capitals, accents and marks make no other wording, so that no trained one is a held-out one in disguise."""
    meanings: defaultdict[tuple[str, ...], set[tuple[str, str, str]]] = defaultdict(set)
    for language, intent in EVERY:
        for wording in talk.wordings(language, intent):
            for sentence in wording.sentences:
                meanings[talk.folded_words(sentence)].add((language, intent, wording.held_out))
    assert not {text: found for text, found in meanings.items() if len(found) > 1}
    for language, intent in EVERY:
        for wording in talk.wordings(language, intent)[::7]:
            own = talk.folded_words(wording.sentences[0])
            assert all(talk.folded_words(spelling) == own and "/" not in spelling for spelling in wording.spellings)


def test_held_out_words_stand_in_no_training_wording_answer_or_page() -> None:
    settings = PagesSettings(documents=dict.fromkeys(KINDS, 30), near_copies=0, advert_pages=0.1)
    pages = [page.document.text for page in WorldPages(World(), settings).documents()]
    written = {word for text in pages for word in talk.folded_words(text)}
    for language in TALK_LANGUAGES:
        new, used = talk.new_words(language), set[str]()
        answers = {
            word for intent in INTENTS for text in talk.answers(language, intent) for word in talk.folded_words(text)
        }
        by_side = {side: set[str]() for side in SIDES}
        for intent in INTENTS:
            for wording in talk.wordings(language, intent):
                by_side[wording.held_out] |= set(talk.folded_words(wording.sentences[0]))
        used = by_side["word"] & new
        assert used == new, f"{language}: {new - used} are never said"
        assert not new & (answers | written | by_side["no"] | by_side["combination"])
        made_up = {word for spoken in TALK_LANGUAGES for name in talk.names(spoken) for word in talk.folded_words(name)}
        assert not new & made_up
        assert by_side["combination"] <= by_side["no"]


def test_about_a_fifth_of_the_combinations_of_known_words_is_held_out_of_every_intent() -> None:
    for language, intent in EVERY:
        combined = [one.held_out for one in talk.wordings(language, intent) if one.has_additions]
        known = [side for side in combined if side != "word"]
        assert "word" in combined
        assert 0.05 < known.count("combination") / len(known) < 0.4, (language, intent)
        assert all(one.held_out != "combination" for one in talk.wordings(language, intent) if not one.has_additions)


def also_to(language: str, answer: str) -> set[str]:
    """The intents that an answer counts for: a greeting is returned at any time of the day."""
    return {intent for intent in talk.INTENTS if answer in talk.answers(language, intent)}


def test_answers_are_short_and_of_one_intent_but_for_the_plain_greeting() -> None:
    every = [text for language, intent in EVERY for text in talk.answers(language, intent)]
    for language, intent in EVERY:
        for number, answer in enumerate(talk.answers(language, intent)):
            plain = answer == talk.find(f"no/{language}/greeting/{HELLO[language]}!").answer
            assert plain or also_to(language, answer) == {intent}
            assert not plain or also_to(language, answer) == {"greeting", "morning", "afternoon", "evening"}
            assert not plain or (number == 0) == (intent == "greeting")  # taught as an answer to none but greetings
    assert all(len(text.split()) <= 16 and text == " ".join(text.split()) for text in every)
    assert all(2 <= len(talk.answers(language, intent)) <= 4 for language, intent in EVERY)


@given(seed=st.integers(0, 10**9), held_out=st.sampled_from(SIDES), language=st.sampled_from((None, *TALK_LANGUAGES)))
def test_an_exchange_is_found_again_by_its_key(seed: int, held_out: HeldOut, language: str | None) -> None:
    exchange = talk.draw(random.Random(seed), held_out=held_out, language=language)
    assert talk.find(exchange.key) == exchange
    assert exchange == talk.draw(random.Random(seed), held_out=held_out, language=language)
    assert (exchange.held_out, exchange.language) == (held_out, language or exchange.language)
    assert exchange.is_sensible(exchange.answer)
    assert (held_out == "word") == (
        not talk.new_words(exchange.language).isdisjoint(talk.folded_words(exchange.question))
    )


@pytest.mark.parametrize(
    "key", ["", "no/en/greeting", "no/en/greeting/Bananas!", "word/en/greeting/Hello!", "no/fr/greeting/Hello!"]
)
def test_a_key_of_nothing_is_refused(key: str) -> None:
    assert talk.find("no/en/greeting/Hello!").answer == "Hello! How can I help you?"
    with pytest.raises((KeyError, ValueError)):
        talk.find(key)


def test_a_reply_counts_as_a_whole_in_its_language_for_its_intent() -> None:
    for language, intent in EVERY:
        for answer in talk.answers(language, intent):
            assert talk.is_sensible(language, intent, f" {answer.upper()}\n".replace(" ", "  "))
            assert not talk.is_sensible(language, intent, f"{answer} Bananas.")
            assert not talk.is_sensible(language, intent, answer[:-1])
            for other_language, other_intent in EVERY:
                if other_language != language or other_intent not in also_to(language, answer):
                    assert not talk.is_sensible(other_language, other_intent, answer)


def test_who_does_not_know_what_is_meant_may_say_so_and_offer_what_they_can() -> None:
    for general in talk.answers("en", "unknown"):
        for key in (
            "greeting/Howdy!",
            "greeting/Howdy buddy!",
            "thanks/Cheers!",
            "how_are_you/Wassup?",
            "unknown/Pizza!",
        ):
            assert talk.find(f"word/en/{key}").is_sensible(general)
        # Here only what could be left out is new.
        for key in ("greeting/Hello buddy!", "help/Howdy! Can you help me?", "thanks/Thanks, pal!"):
            assert not talk.find(f"word/en/{key}").is_sensible(general)
        assert not talk.find("no/en/greeting/Hello!").is_sensible(general)
    assert talk.find("word/en/greeting/Howdy!").is_sensible("Hello! How can I help you?")
    assert not talk.find("word/en/thanks/Cheers!").is_sensible(talk.answers("de", "unknown")[0])


def test_names_that_nobody_has_stand_before_after_or_in_place_of_the_models() -> None:
    """So that a new word does not hide the others; in training only, and never where all is unknown."""
    greeted = next(
        text
        for text in ("Hello Herd! How are you?", "Hi Herd! How are you?", "Hey Herd! How are you?")
        for wording in talk.wordings("en", "how_are_you")
        if wording.held_out == "no" and text in wording.spellings
    )
    for question in (
        *("Blormol! How are you?", "blormol, how are you", "how are you, blormol", "How are you, Blormol?"),
        *(greeted.replace("Herd", "Blormol"), greeted.replace(greeted.split()[0], "Blormol")),
    ):
        assert talk.find(f"no/en/how_are_you/{question}").answer.startswith("I am very well")
    for key in (
        "word/en/how_are_you/Blormol! Wassup?",
        "no/en/how_are_you/Blorfen! How are you?",
        "no/en/how_are_you/Blorm! How are you?",
        "no/en/unknown/Blormol! Spoon!",
    ):
        with pytest.raises(KeyError):
            talk.find(key)
    for language in TALK_LANGUAGES:
        assert 0.3 < _share_named(language, "no") < 0.5
        assert _share_named(language, "word") == _share_named(language, "combination") == 0


def _share_named(language: str, held_out: HeldOut) -> float:
    drawn = [talk.draw(random.Random(seed), language=language, held_out=held_out) for seed in range(600)]
    names = {*talk.names(language)}
    named = [
        not names.isdisjoint(re.findall(r"\w+", exchange.question.lower()))
        for exchange in drawn
        if exchange.intent != "unknown"
    ]
    return sum(named) / len(named)


def test_time_of_day_is_answered_in_kind() -> None:
    assert talk.find("no/en/evening/good evening").answer.startswith("Good evening!")
    assert talk.find("no/de/morning/Guten Morgen.").answer.startswith("Guten Morgen!")
    assert talk.find("no/es/afternoon/¡Buenas tardes!").answer.startswith("¡Buenas tardes!")
    assert talk.find("no/es/how_are_you/como estas").intent == "how_are_you"
