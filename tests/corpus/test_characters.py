"""What the kernels are told of characters is what Unicode says, and stop words are of every language."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.corpus.characters import (
    BLANK,
    DIGIT,
    GAP,
    IDEOGRAPH,
    LANGUAGES,
    LETTER,
    MARK,
    NOTHING,
    STOP_WORDS,
    SYMBOL,
    TABLE_SIZE,
    TERMINAL,
    UPPER,
    tables,
)

CLASSES, LOWERED, FOLDED = tables()


@pytest.mark.parametrize(
    ("character", "classes"),
    [
        ("A", LETTER | UPPER),
        ("ß", LETTER),
        ("7", DIGIT),
        ("\u0663", DIGIT),  # Arabic-Indic three
        ("²", 0),
        ("\u0301", MARK),
        ("\u0903", 0),  # a mark that takes space is a part of its letter
        ("$", SYMBOL),
        ("€", 0),
        ("«", SYMBOL),
        (".", SYMBOL | TERMINAL),
        ("\u3002", SYMBOL | TERMINAL),
        ("\u0964", SYMBOL | TERMINAL),
        (",", SYMBOL),
        (" ", BLANK),
        ("\u00a0", BLANK),
        ("\n", BLANK | SYMBOL),
        ("\u200b", 0),
        ("あ", LETTER | IDEOGRAPH),
        ("ㄅ", LETTER | IDEOGRAPH),
    ],
)
def test_a_character_is_of_its_classes(character: str, classes: int) -> None:
    assert CLASSES[ord(character)] == classes


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("É", "e"),
        ("e\u0301", "e"),
        ("Ǻ", "a"),
        ("Й", "и"),
        ("İ", "i"),
        ("9", "0"),
        ("\u0663", "0"),
        ("ß", "ß"),
        ("ø", "ø"),
    ],
)
def test_a_letter_loses_case_and_accents_and_a_digit_its_value(written: str, folded: str) -> None:
    assert [chr(FOLDED[ord(one)]) for one in written if FOLDED[ord(one)] != NOTHING] == list(folded)


@given(st.integers(0, TABLE_SIZE - 1))
def test_what_is_folded_or_lowered_stays_so(code: int) -> None:
    folded, lowered = int(FOLDED[code]), int(LOWERED[code])
    assert int(LOWERED[lowered]) == lowered if lowered < TABLE_SIZE else not chr(lowered).isupper()
    if folded not in (GAP, NOTHING) and folded < TABLE_SIZE:
        assert int(FOLDED[folded]) == folded
    assert (folded == NOTHING) == (unicodedata.category(chr(code)) == "Mn")
    assert (folded == GAP) == (unicodedata.category(chr(code))[0] in "PSZC")


def test_every_language_has_eight_stop_words_or_so() -> None:
    assert all(7 <= len(set(words)) <= 9 for words in STOP_WORDS.values())


def test_stop_words_are_written_as_the_kernels_compare_them() -> None:
    """In lower case, without blanks, and composed: others would never be met."""
    words = [word for listed in STOP_WORDS.values() for word in listed]
    assert all(word == word.lower() == unicodedata.normalize("NFC", word) for word in words)
    assert all(word.strip() == word and word for word in words)
    assert list(LANGUAGES.values()) == list(range(len(STOP_WORDS)))
