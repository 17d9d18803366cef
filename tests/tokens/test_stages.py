"""The stages from a corpus to a tokenizer and to packed tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.artifacts import Corpus, Tokenizer
from herd.core.errors import DataError
from herd.core.records import Document
from herd.core.stage import Work
from herd.core.storage import write_documents
from herd.run.executors import LocalExecutor
from herd.tokens.results import PackingResult, TokenizerResult
from herd.tokens.stages import extend_tokenizer, pack, train_tokenizer
from herd.tokens.tokenizer import TextTokenizer

TEXTS = ["the quick brown fox jumps over the lazy dog", "the cat sat on the mat and the rat sat on the cat"]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_documents(folder, (Document(id=str(n), text=text, source="web") for n, text in enumerate(TEXTS)))
    return Corpus(folder)


def work(folder: Path, said: list[str]) -> Work:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True)
    return Work(folder / "out", folder / "scratch", LocalExecutor(), warn=said.append)


def test_a_tokenizer_says_what_it_was_learnt_from(corpus: Corpus, tmp_path: Path) -> None:
    at_work = work(tmp_path / "made", [])
    made = train_tokenizer.body(at_work, corpus, vocab_size=262, max_words=5)
    assert TextTokenizer.load(made.path).vocab_size == 262 + 256
    words = at_work.results[TokenizerResult].words
    assert words.learnt_from == 5
    assert words.distinct == len({f" {word}" if at else word for text in TEXTS for at, word in enumerate(text.split())})
    assert 0.5 < words.share_of_text < 1
    lengths = at_work.results[TokenizerResult].compression["source web"]
    assert lengths.characters == sum(map(len, TEXTS))
    assert lengths.tokens == sum(len(TextTokenizer.load(made.path).encode(text)) for text in TEXTS)


def test_a_vocabulary_is_extended_by_what_the_corpus_says(corpus: Corpus, tmp_path: Path) -> None:
    import base64

    base = tmp_path / "base.tiktoken"
    base.write_bytes(b"".join(base64.b64encode(bytes([n])) + f" {n}\n".encode() for n in range(256)))
    at_work = work(tmp_path / "made", [])
    made = extend_tokenizer.body(at_work, corpus, base=str(base), extra=20)
    assert TextTokenizer.load(made.path).vocab_size == 276 + 256
    result = at_work.results[TokenizerResult]
    before, after = (rates["source web"].tokens for rates in (result.compression_before, result.compression))
    assert before == sum(map(len, TEXTS)) > after


def test_a_source_without_held_out_text_is_named(corpus: Corpus, tmp_path: Path) -> None:
    made = train_tokenizer.body(work(tmp_path / "tokenizer", []), corpus, vocab_size=256)
    said: list[str] = []
    at_work = work(tmp_path / "packed", said)
    pack.body(at_work, corpus, Tokenizer(made.path), held_out_share=0.001)
    (warning,) = said
    assert warning.startswith("nothing is held out of web, so no loss is measured there")
    assert "raise held_out_share or add documents" in warning
    assert at_work.results[PackingResult].not_held_out == ("web",)


def test_an_empty_corpus_is_told(corpus: Corpus, tmp_path: Path) -> None:
    made = train_tokenizer.body(work(tmp_path / "tokenizer", []), corpus, vocab_size=256)
    folder = tmp_path / "empty"
    folder.mkdir()
    write_documents(folder, [])
    with pytest.raises(DataError, match="the corpus is empty"):
        pack.body(work(tmp_path / "packed", []), Corpus(folder), Tokenizer(made.path))
