"""Pairs learnt from counted words are those that the library learns from the texts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, trainers

from herd.tokens import bpe
from herd.tokens.words import count_texts, splitter


def by_the_library(texts: list[str], pairs: int, *, digits_together: bool = True) -> dict[str, object]:
    backend = Backend(models.BPE())
    backend.pre_tokenizer = splitter(digits_together=digits_together)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=pairs, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return bpe.llama3_tokenizer(backend).backend_json


# Few letters make runs, ties, and tokens that two pairs come to.
@settings(max_examples=60)
@given(
    st.sampled_from(["ab", "abc", "a ", "-=", "ab\n", "é東a ", "12a "]).flatmap(
        lambda letters: st.lists(st.text(letters, max_size=60), min_size=1, max_size=12)
    ),
    st.integers(256, 330),
    st.booleans(),
)
def test_it_learns_what_the_library_learns(texts: list[str], pairs: int, digits_together: bool) -> None:
    ours = bpe.train_bpe(texts, vocab_size=pairs, digits_together=digits_together).backend_json
    assert ours == by_the_library(texts, pairs, digits_together=digits_together)


def test_words_are_merged_block_by_block_as_at_once(monkeypatch) -> None:
    texts = ["the cat sat on the mat, that the rat ate; aaaa aaa banana bandana"] * 3
    whole = bpe.train_bpe(texts, vocab_size=300, digits_together=True).backend_json
    monkeypatch.setattr(bpe, "_WORDS_AT_ONCE", 2)
    assert bpe.train_bpe(texts, vocab_size=300, digits_together=True).backend_json == whole


def test_a_word_that_comes_more_often_than_can_be_fed_counts_as_often() -> None:
    counts = dict(count_texts(["abab cd"], digits_together=True))
    often = bpe.train_bpe_from_counts({word: 10**12 * count for word, count in counts.items()}, vocab_size=260)
    assert often.backend_json == bpe.train_bpe_from_counts(counts, vocab_size=260).backend_json
