"""More pairs on top of a vocabulary: the old ones stay what they were."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from herd.tokens.extend import extend_counted, extend_ranks
from herd.tokens.tiktoken import from_ranks, merges_of, to_bytes
from herd.tokens.tokenizer import TextTokenizer
from herd.tokens.words import count_texts
from tests.tokens.test_tiktoken import ENGLISH, GERMAN, ranks

BASE = ranks()


def pieces(tokenizer: TextTokenizer) -> list[bytes]:
    vocabulary = tokenizer.backend_json["model"]["vocab"]
    return [to_bytes(text) for text in sorted(vocabulary, key=vocabulary.__getitem__)]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.text("abé 1the", max_size=20), min_size=1, max_size=6), st.integers(0, 12))
def test_the_old_ids_are_kept_and_the_new_pairs_join_what_they_leave_apart(texts: list[str], extra: int) -> None:
    before, after = from_ranks(BASE), extend_ranks(BASE, texts, extra=extra)
    found = pieces(after)
    assert found[: len(BASE)] == BASE
    assert len(BASE) <= len(found) <= len(BASE) + extra
    assert len(set(found)) == len(found)
    for text in texts:
        assert after.decode(after.encode(text)) == text
        assert len(after.encode(text)) <= len(before.encode(text))
    # What holds none of the new pairs is what it was.
    other = "quick, fox; jumps!"
    if not any(piece in other.encode() for piece in found[len(BASE) :]):
        assert after.encode(other) == before.encode(other)


def test_the_pair_that_comes_most_often_is_first() -> None:
    counts = {"zqzq": 5, "xkxk": 50}
    made = pieces(extend_counted(BASE, counts, extra=2))[len(BASE) :]
    assert made == [b"xk", b"xkxk"]
    assert pieces(extend_counted(BASE, counts | {"zqzq": 500}, extra=1))[len(BASE) :] == [b"zq"]


def test_texts_are_counted_as_their_words_are() -> None:
    counted = Counter(count_texts(GERMAN, digits_together=True))
    assert pieces(extend_ranks(BASE, GERMAN, extra=9)) == pieces(extend_counted(BASE, counted, extra=9))


def test_pairs_on_top_help_their_language_and_leave_the_other_alone() -> None:
    base = ranks()
    before, after = from_ranks(base), extend_ranks(base, GERMAN, extra=30)
    assert after.vocab_size == before.vocab_size + 30

    def tokens(tokenizer: TextTokenizer, texts: list[str]) -> int:
        return sum(map(len, tokenizer.encode_batch(texts)))

    assert tokens(after, GERMAN) < 0.8 * tokens(before, GERMAN)
    # English keeps its ids but where German pairs happen to fit; it never gets longer.
    assert tokens(after, ENGLISH) <= tokens(before, ENGLISH)
    assert after.decode(after.encode(GERMAN[0])) == GERMAN[0]
    old = list(merges_of(base))
    assert after.backend_json["model"]["merges"][: len(old)] == [list(pair) for pair in old]
