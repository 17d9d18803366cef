"""Spam, adverts and copies: what curation has to find looks as it is meant to."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from herd.world import noise


def test_a_near_copy_differs_in_a_few_words() -> None:
    text = " ".join(f"word{chr(97 + n % 26)}" for n in range(500))
    copy = noise.near_copy(text, random.Random(0))
    changed = sum(a != b for a, b in zip(text.split(), copy.split(), strict=True))
    assert len(copy.split()) == 500
    assert changed <= 5
    assert noise.near_copy("1 2 3", random.Random(0)) == "1 2 3 again"


def test_copies_of_html_change_its_text_and_none_of_its_tags() -> None:
    page = "<p class=fine>" + "<b>words</b>&nbsp;stand here between <i title=tags>tags</i> " * 40 + "</p>"
    copy = noise.near_copy(page, random.Random(0), 100)
    tags = re.compile(r"<[^>]*>|&nbsp;")
    assert copy != page
    assert tags.findall(copy) == tags.findall(page)


@given(st.text(max_size=80), st.integers(0, 5))
def test_a_copy_is_never_the_text_itself(text: str, seed: int) -> None:
    words = set(re.findall(r"[a-z]{4,}", text))
    if words & {"other", "given", "certain", "named", "several", "proper"}:
        return  # a word may be changed for itself
    assert noise.near_copy(text, random.Random(seed)) != text


def test_spam_shouts_and_an_advert_reads_like_prose() -> None:
    for seed in range(10):
        spam, advert = noise.spam(random.Random(seed)), noise.advert(random.Random(seed))
        assert 12 <= len(spam.splitlines()) <= 30
        assert all("!!!" in line and "###" in line for line in spam.splitlines())
        sentences = re.findall(r"[A-Z][^.]*\.", advert)
        assert " ".join(sentences) == advert
        assert 6 <= len(sentences) <= 16
        assert "!" not in advert


def test_runs_are_counted_once_each() -> None:
    assert noise.distinct_ngrams("a b c d e f") == 2
    assert noise.distinct_ngrams("a b c d") == 0
    assert noise.distinct_ngrams("a b a b a b a b", length=2) == 2
