"""More pairs on top of a vocabulary that is there already, as Llama 3 extended cl100k with 28,000 of its own (3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from herd.tokens.bpe import Words, learn_merges
from herd.tokens.tiktoken import from_ranks, to_bytes, to_letters
from herd.tokens.tokenizer import TextTokenizer
from herd.tokens.words import count_texts


def extend_ranks(ranks: Sequence[bytes], texts: Iterable[str], *, extra: int) -> TextTokenizer:
    """`extend_counted` of the words of `texts`, counted in memory."""
    return extend_counted(ranks, count_texts(texts, digits_together=True), extra=extra)


def extend_counted(ranks: Sequence[bytes], counts: Mapping[str, int], *, extra: int) -> TextTokenizer:
    """A tokenizer with the pairs of `ranks` first and then up to `extra` more, learnt from words that come so often.

    The new pairs merge only what the old ones leave apart, so a text in which none of them occurs keeps its ids; a
    pair whose bytes are a token by another way is no new one.
    Source: Llama 3, 3.2 (the vocabulary); Sennrich et al. 2016 (the learning).
    """
    base = from_ranks(ranks)
    words = Words.of((base.encode(to_bytes(word).decode()) for word in counts), counts.values())
    alphabet = [to_letters(pair) for pair in ranks]
    model = learn_merges(words, alphabet, len(alphabet) + extra, repeat=False)
    return from_ranks([to_bytes(token) for token in model.tokens])
