"""Sentences and words as nltk cuts them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from herd.core.errors import SettingsError
from herd.judge import sentences
from tests.judge.needs import needs_punkt


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
