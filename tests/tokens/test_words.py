"""Words are counted part by part as they are at once, and only so many are kept."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from herd.core.records import Document
from herd.core.storage import document_parts, write_documents
from herd.run.executors import LocalExecutor
from herd.tokens import words
from herd.tokens.words import WordCounts, count_corpus_words, count_texts


def document(number: int, text: str) -> Document:
    return Document(id=str(number), text=text, source="web")


def counted(folder: Path, *, part_bytes: int = 32_000_000, max_words: int = 10**6, workers: int = 1) -> WordCounts:
    parts = document_parts(folder, part_bytes=part_bytes)
    place = LocalExecutor(lambda: workers)
    return count_corpus_words(parts, place, folder / "scratch", digits_together=True, max_words=max_words)


@settings(max_examples=15)
@given(st.lists(st.text("ab 1\n東", max_size=40), min_size=1, max_size=30), st.integers(1, 20))
def test_parts_runs_and_buckets_change_nothing(texts: list[str], max_words: int) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        write_documents(folder, (document(n, text) for n, text in enumerate(texts)))
        whole = counted(folder, max_words=max_words)
        # As a corpus of terabytes would have them: a row group a part, many runs and buckets.
        patch.setattr(words, "_RUN_WORDS", 2)
        patch.setattr(words, "_TEXT_BYTES", 10)
        patch.setattr(words, "_BUCKET_BYTES", 50)
        assert counted(folder, part_bytes=1, max_words=max_words) == whole
        assert not (folder / "scratch").exists()
    wanted = count_texts(texts, digits_together=True)
    ordered = sorted(wanted.items(), key=lambda entry: (-entry[1], entry[0]))[:max_words]
    assert list(whole.words.items()) == ordered
    assert whole.distinct == len(wanted)
    assert whole.share == sum(count for _, count in ordered) / max(1, wanted.total())


def test_workers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import herd.core.storage as storage

    monkeypatch.setattr(storage, "_GROUP_ROWS", 3)
    texts = [f"word{n % 7} {n} and the {'x' * (n % 5)}" for n in range(12)]
    write_documents(tmp_path, (document(n, text) for n, text in enumerate(texts)))
    assert len(document_parts(tmp_path, part_bytes=1)) == 4
    assert counted(tmp_path, part_bytes=1, workers=2) == counted(tmp_path, part_bytes=1)


def test_words_are_in_letters_for_bytes() -> None:
    assert count_texts(["a b b\n"], digits_together=True) == Counter({"Ġb": 2, "a": 1, "Ċ": 1})
    assert count_texts(["12345"], digits_together=False) == Counter("12345")
    assert count_texts(["12345"], digits_together=True) == Counter(["123", "45"])
