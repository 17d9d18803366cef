"""Sentences and words as nltk cuts them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.judge import sentences
from tests.judge.needs import needs_punkt


@given(st.integers(1, 9), st.sampled_from(["a", "a b. ", "a\n"]))
def test_a_long_text_is_cut_at_blanks(times: int, word: str) -> None:
    text = word * (times * 7000)
    parts = sentences.pieces(text)
    assert "".join(parts) == text
    assert all(len(part) <= 20_000 for part in parts)
    assert word == "a" or all(part[-1] in " \n" for part in parts)


@needs_punkt
def test_hostile_text_is_cut_in_bounded_time() -> None:
    start = time.process_time()
    for text in ("a." * 15_000, "?!" * 15_000, "a" * 30_000, "'" * 30_000, "http://" * 5000, ". " * 15_000):
        assert sentences.sentence_count(text) > 0
        assert sentences.word_tokens(text)
    assert time.process_time() - start < 60
    assert sentences.sentence_count("The cat sat. " * 3000) == 3000


@needs_punkt
def test_sentences_are_counted() -> None:
    assert sentences.sentence_count("Dr. Smith came at 5 p.m. to see it. Did he? Yes!") == 3
    assert sentences.sentence_count("") == 0
    assert sentences.word_tokens("It's here. No.") == ["It", "'s", "here", ".", "No", "."]


def test_without_the_data_the_mend_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pytest.importorskip("nltk.data")
    monkeypatch.setattr(data, "path", [])
    monkeypatch.setattr(sentences, "_SHIPPED_BY", "no_such_package.core")
    with pytest.raises(SettingsError, match="llama-index-core"):
        sentences.punkt_folder()


@needs_punkt
def test_nothing_of_the_package_that_ships_the_data_is_imported() -> None:
    assert isinstance(sentences.punkt_folder(), Path)
    assert "llama_index.core" not in sys.modules
