"""IFEval's checks, one by one."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.judge import instruction_checks as checks
from tests.judge.needs import needs_langdetect, needs_punkt

PLAIN = [
    (checks.number_words, {"num_words": 3, "relation": "at least"}, "one two three", "one two"),
    (checks.number_words, {"num_words": 3, "relation": "less than"}, "one-two", "a b c"),
    (checks.number_paragraphs, {"num_paragraphs": 2}, "a\n***\nb", "a\n***\n \n***\nb"),
    (checks.number_paragraphs, {"num_paragraphs": 1}, "***\na\n***", "a *** b"),
    (
        checks.nth_paragraph_first_word,
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "But"},
        "a\n\n'but, b",
        "a\n\nbutter",
    ),
    (checks.nth_paragraph_first_word, {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "a"}, "A.b", "\n\na"),
    (checks.existence, {"keywords": ["Cat", "do."]}, "a cat, a dog", "a cat, do"),
    (checks.frequency, {"keyword": " cat ", "frequency": 2, "relation": "at least"}, "Cat concat", "cat"),
    (checks.forbidden_words, {"forbidden_words": ["cat"]}, "concatenate", "A CAT."),
    (
        checks.letter_frequency,
        {"letter": "E", "let_frequency": 2, "let_relation": "at least"},
        "eE",
        "e",
    ),
    (checks.letter_frequency, {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, "##", "#"),
    (checks.number_placeholders, {"num_placeholders": 2}, "[a] [b]", "[a\n] [b]"),
    (checks.postscript, {"postscript_marker": "P.S."}, "x\np. s. y", "ps"),
    (checks.postscript, {"postscript_marker": "P.P.S"}, "P. P.S y", "p.s."),
    (checks.postscript, {"postscript_marker": "Note:"}, "a NOTE: b", "note"),
    (checks.number_bullet_lists, {"num_bullets": 2}, "* a\n\n  - b", "** a\n- b"),
    (checks.number_bullet_lists, {"num_bullets": 1}, "*\n* b", "* a\n* b"),
    (checks.constrained_response, {}, "Well: My answer is no. Yes.", "my answer is no."),
    (checks.number_highlighted_sections, {"num_highlights": 1}, "*a*", "* *"),
    (checks.number_highlighted_sections, {"num_highlights": 2}, "**a** *b*", "*a"),
    (
        checks.multiple_sections,
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1 a Section2 b",
        "Section 1",
    ),
    (checks.json_format, {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    (checks.title, {}, "x <<a>>", "<< >>\n<<\na>>"),
    (checks.two_responses, {}, "a\n******\nb", "a******a"),
    (checks.two_responses, {}, "******a******b******", "a************b"),
    (checks.repeat_prompt, {"prompt_to_repeat": "Say it. "}, " say it. yes", "yes: say it."),
    (checks.end_checker, {"end_phrase": "The end."}, 'x the END."', "the end"),
    (checks.quotation, {}, ' "a" ', '"'),
    (checks.no_comma, {}, "a; b", "a, b"),
]


@pytest.mark.parametrize(("check", "arguments", "right", "wrong"), PLAIN)
def test_a_check_tells_right_from_wrong(check, arguments: dict, right: str, wrong: str) -> None:
    assert check(right, **arguments) is True
    assert check(wrong, **arguments) is False


@needs_langdetect
def test_checks_of_languages() -> None:
    english = "this is plainly an english sentence about the weather of today"
    assert checks.response_language(english, language="en")
    assert not checks.response_language(english, language="de")
    assert checks.response_language("12345", language="de")  # nothing to tell it by
    assert checks.english_lowercase(english)
    assert not checks.english_lowercase(english.upper())
    assert checks.english_capital(english.upper())
    assert not checks.english_capital("das ist ein deutscher satz über das wetter".upper())


@needs_punkt
def test_checks_of_sentences_and_capital_words() -> None:
    assert checks.number_sentences("Mr. A came. He left.", num_sentences=2, relation="at least")
    assert not checks.number_sentences("Mr. A came. He left.", num_sentences=2, relation="less than")
    assert checks.capital_word_frequency("USA and EU-wide NATO", capital_frequency=2, capital_relation="at least")


def test_all_25_are_there_by_the_names_of_the_data() -> None:
    assert len(checks.INSTRUCTION_CHECKS) == 25
    assert all(name.split(":")[1] == check.__name__ for name, check in checks.INSTRUCTION_CHECKS.items())


def test_a_relation_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match="at most"):
        checks.holds(1, "at most", 2)


def test_a_keyword_that_is_no_pattern_stands_for_itself() -> None:
    assert checks.existence("I like c++ best", keywords=["c++("]) is False
    assert checks.existence("a (b", keywords=["(b"])
    assert checks.multiple_sections("( 1 a", section_spliter="(", num_sections=1)


# What the scans replace.
BULLETS = (re.compile(r"^\s*\*[^\*].*$", re.MULTILINE), re.compile(r"^\s*-.*$", re.MULTILINE))
MARKS = st.text(alphabet="*-a \n[]<>\r\t", max_size=40)


@given(MARKS)
def test_scans_count_as_the_patterns_upstream(text: str) -> None:
    bullets = sum(len(pattern.findall(text)) for pattern in BULLETS)
    assert checks.number_bullet_lists(text, num_bullets=bullets)
    placeholders = len(re.findall(r"\[.*?\]", text))
    assert checks.number_placeholders(text, num_placeholders=placeholders)
    assert not checks.number_placeholders(text, num_placeholders=placeholders + 1)
    titles = re.findall(r"<<[^\n]+>>", text)
    assert checks.title(text) == any(title.lstrip("<").rstrip(">").strip() for title in titles)


def test_hostile_text_is_checked_in_linear_time() -> None:
    hostile = ["[" * 10**5, "\n" * 10**5, " " * 10**5, "<<" * 50_000, "*" * 10**5, "{" * 10**5, "* \n" * 30_000]
    start = time.process_time()
    for check, arguments, _, _ in PLAIN:
        for text in hostile:
            assert isinstance(check(text, **arguments), bool)
    assert time.process_time() - start < 60
