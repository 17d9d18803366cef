"""Every rule at its threshold: what is just inside stays, what is just outside goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.corpus.filters import filters
from herd.corpus.stats import measure

SENTENCE = "The cat sat with the dog and that was good to see."


def drops(name: str, text: str, **settings: object) -> bool:
    return bool(filters.make(filters.use(name, **settings))(measure([text]))[0])


@pytest.mark.row(17)
@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("word_count", "word " * 50, "word " * 49),
        ("word_count", "word " * 100_000, "word " * 100_001),
        ("word_length", "abc " * 60, "ab " * 60),
        ("word_length", "abcdefghij " * 60, "abcdefghijk " * 60),
        ("symbols", "# " + "word " * 9, "# # " + "word " * 9),
        ("symbols", "… " + "word " * 9, "… … " + "word " * 9),
        ("bullets", "- a\n" * 9 + "b", "- a\n" * 19 + "b"),
        ("ellipses", "a...\n" * 3 + "b\n" * 7, "a...\n" * 4 + "b\n" * 6),
        ("few_alphabetic_words", "a 1 " + "word " * 3, "1 2 " + "word " * 3),
        ("stop_words", "the and cat", "the cat"),
        ("stop_words", "der Hund und die Katze", "Hund Katze"),
        ("repeated_lines", "a b c d\n" * 2 + "".join(f"line number {n} is here\n" for n in range(6)), "a\n" * 4),
        ("repeated_words", SENTENCE, "cheap pills " * 20),
        ("short_lines", "x" * 31 + "\n" + "y", "x\ny\nz"),
        ("ended_lines", "One.\nTwo", "One\n" * 9 + "Two."[:3]),
        ("language", SENTENCE * 3, "Der Hund und die Katze sind nicht zu Hause, weil sie mit uns gegangen sind." * 2),
        ("shouting", "BUY now and then again or not", "BUY NOW and then"),
        ("debris", "We use a cookie. Another cookie. Cookie three.", "cookie " * 4),
    ],
)
def test_a_rule_at_its_threshold(name: str, inside: str, outside: str) -> None:
    assert not drops(name, inside)
    assert drops(name, outside)


@given(st.text(max_size=200))
def test_no_text_breaks_a_rule(text: str) -> None:
    stats = measure([text])
    for name in filters.all():
        assert filters.make(filters.use(name))(stats).shape == (1,)


def test_thresholds_are_settings_and_typos_are_told() -> None:
    assert drops("word_count", "word " * 60, at_least=61)
    with pytest.raises(SettingsError, match="did you mean 'at_least'"):
        filters.use("word_count", at_lest=3)
    with pytest.raises(SettingsError, match="did you mean 'word_count'"):
        filters.use("wordcount")


@pytest.mark.row(17)
def test_planted_spam_is_found_and_good_text_stays(figure) -> None:
    import random

    from herd.world import noise
    from herd.world.pages import Pages, PagesSettings
    from herd.world.truth import World

    chance = random.Random(0)
    rules = ("shouting", "symbols")
    junk = sum(any(drops(rule, noise.spam(chance)) for rule in rules) for _ in range(100))
    settings = PagesSettings(documents={"facts": 60, "needles": 60}, near_copies=0.0, spam_pages=0.0)
    good = [page.document.text for page in Pages(World(), settings).documents()]
    lost = sum(any(drops(rule, text) for rule in rules) for text in good)
    figure(f"recall {junk} %, {lost} of {len(good)} good pages lost")
    assert junk >= 90
    assert lost / len(good) <= 0.05
