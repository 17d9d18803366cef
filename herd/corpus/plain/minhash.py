"""MinHash signatures of documents as sets of runs of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from herd.corpus.characters import DIGIT, IDEOGRAPH, LETTER, NOTHING, tables
from herd.corpus.plain.text import runes
from herd.corpus.plain.words import GOLDEN, MASK, chain_hash, is_unspaced, mix, rune_class

_FOLDS: list[int] = tables()[2].tolist()
_LANES = 16  # permutations are drawn for a multiple of so many
_ZERO = ord("0")


def next_random(state: int) -> tuple[int, int]:
    """SplitMix64: the permutations of a seed, the same on every machine; the next state and the number drawn."""
    state = (state + GOLDEN) & MASK
    z = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return state, z ^ z >> 31


def _folded(code: int) -> int:
    if code < len(_FOLDS):
        return _FOLDS[code]
    return code if rune_class(code) & (LETTER | DIGIT) else 0


def _hashed_words(text: bytes, fold_numbers: bool) -> list[int]:
    hashed: list[int] = []
    word, inside, number = 0, False, False
    for _, code, _ in runes(text):
        folded = _folded(code)
        if folded == NOTHING and code >= 0x80:  # a mark that only decorates
            continue
        alone = code >= 0x80 and (is_unspaced(folded) or (folded >= 0x3040 and rune_class(folded) & IDEOGRAPH > 0))
        if (alone or not folded) and inside:
            hashed.append(mix(word))
        if alone:
            hashed.append(mix(folded))
        if alone or not folded:
            word, inside, number = 0, False, False
        elif folded == _ZERO and fold_numbers:
            if not number:
                word = (word ^ folded) * GOLDEN & MASK
            inside = number = True
        else:
            word = (word ^ (code if folded == _ZERO else folded)) * GOLDEN & MASK
            word ^= word >> 29
            inside, number = True, False
    return [*hashed, mix(word)] if inside else hashed


def shingles(text: bytes, words: int, fold_numbers: bool) -> list[int]:
    """Hashes of the runs of `words` words of `text`; of all its words together when they are fewer. With `fold_numbers`
    all numbers are one."""
    hashed = _hashed_words(text, fold_numbers)
    n = min(words, len(hashed))
    runs = []
    for start in range(len(hashed) - n + 1 if hashed else 0):
        h = 0
        for word in hashed[start : start + n]:
            h = chain_hash(h, word)
        runs.append(mix(h))
    return runs


def minhash(texts: Sequence[bytes], rules: Any, keys: NDArray[np.uint64], minima: NDArray[np.uint32] | None) -> None:
    """Fills keys [N, bands]: equal numbers mean equal minima in all rows of the band; and minima [N, bands * rows]."""
    size = rules.bands * rules.rows
    state, randoms = rules.seed, []
    for _ in range(-(-size // _LANES) * _LANES):
        state, value = next_random(state)
        randoms.append(value)
    scale = np.array([(value & 0xFFFFFFFF) | 1 for value in randoms[:size]], np.uint32)
    shift = np.array([value >> 32 for value in randoms[:size]], np.uint32)
    for number, text in enumerate(texts):
        runs = shingles(text, rules.words, bool(rules.fold_numbers))
        small = np.array([run >> 16 & 0xFFFFFFFF for run in runs], np.uint32)
        least = np.full(size, 0xFFFFFFFF, np.uint32)
        for begin in range(0, len(small), 1024):
            images = (small[begin : begin + 1024, None] ^ shift) * scale
            least = np.minimum(least, (images ^ (images >> np.uint32(15))).min(axis=0))
        for band in range(rules.bands):
            key = band + 1
            for value in least[band * rules.rows : (band + 1) * rules.rows].tolist():
                key = mix(key ^ (value * GOLDEN & MASK))
            # Texts without a word have nothing in common with each other: 0 is the key of nothing.
            keys[number, band] = key if runs else 0
        if minima is not None:
            minima[number] = least
