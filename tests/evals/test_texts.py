"""Texts and words of files, and the sentences in them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from herd.core.errors import DataError
from herd.evals import texts
from herd.evals.texts import english_words, read_texts, read_words, split_sentences


def test_texts_come_from_files_folders_and_rows(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("Second.")
    (tmp_path / "a.md").write_text("First.")
    (tmp_path / "c.jsonl").write_text('{"text": "Third."}\n{"text": "Fourth."}')
    (tmp_path / "notes.py").write_text("no text")
    assert read_texts(str(tmp_path)) == ["First.", "Second.", "Third.", "Fourth."]
    assert read_texts(str(tmp_path / "b.txt")) == ["Second."]
    (tmp_path / "essays.json").write_text(json.dumps({"text": "Of one row."}))
    assert read_texts(str(tmp_path / "essays.json")) == ["Of one row."]


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match="not UTF-8 at byte 3"):
        read_texts(str(tmp_path / "latin.txt"))
    (tmp_path / "rows.jsonl").write_text('{"body": "words"}')
    with pytest.raises(DataError, match="row 1 has no text under 'text'"):
        read_texts(str(tmp_path / "rows.jsonl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no text"):
        read_texts(str(tmp_path / "empty"))
    with pytest.raises(DataError, match="cannot be read"):
        read_texts(str(tmp_path / "absent.txt"))


def test_sentences_are_whole_and_all_there() -> None:
    found = split_sentences(["One is  here.\nTwo? Yes!  ", "Three has 3.5 parts"])
    assert found == ["One is here.", "Two?", "Yes!", "Three has 3.5 parts"]


def test_words_stand_one_a_line(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\n".join([*(f"w{n}" for n in range(120)), "w1", "two words", ""]))
    assert read_words(str(file)) == [f"w{n}" for n in range(120)]


def test_english_words_come_from_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "words.whl", "w") as wheel:
        for part, words in (("noun", "tree\nbird\n\ntree\n"), ("adjective", "large\n"), ("verb", "go\n")):
            wheel.writestr(f"wonderwords/assets/{part}list.txt", words)
    monkeypatch.setattr(texts, "fetch_package", lambda *package: tmp_path / "words.whl")
    english_words.cache_clear()
    assert english_words("noun") == ("bird", "tree")
    assert english_words("adjective") == ("large",)
    english_words.cache_clear()
