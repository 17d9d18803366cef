"""Deduplication against everything seen before, by a Bloom filter of n-grams (DCLM's BFF)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from herd.corpus.plain.words import MASK, chain_hash, mix, split_words

Filter = NDArray[np.uint64]


def _probe(bits: Filter, rules: Any, key: int, *, add: bool) -> bool:
    step = mix(key ^ 0xB100F) | 1  # double hashing (Kirsch and Mitzenmacher 2006)
    present = True
    for _ in range(rules.hashes):
        bit = key * rules.bits >> 64
        word, mask = int(bits[bit >> 6]), 1 << (bit & 63)
        if not word & mask:
            present = False
            if not add:
                return False
            bits[bit >> 6] = word | mask
        key = (key + step) & MASK
    return present


def bloom_add(bits: Filter, rules: Any, key: int) -> bool:
    """Whether the key was in the filter before; it is afterwards."""
    return _probe(bits, rules, key, add=True)


def _seen_before(paragraph: bytes, rules: Any, bits: Filter, counts: list[int]) -> bool:
    words = split_words(paragraph)
    if len(words) < rules.least:
        return False
    n = min(len(words), rules.most)
    new_keys, total = [], len(words) - n + 1
    for start in range(total):
        h = 0
        for word in words[start : start + n]:
            h = chain_hash(h, word.hash)
        h = mix(h)
        if not _probe(bits, rules, h, add=False):
            new_keys.append(h)
    repeated = total - len(new_keys)
    counts[0] += total
    counts[1] += repeated
    if repeated > rules.threshold * total:
        return True
    for key in new_keys:
        _probe(bits, rules, key, add=True)
    return False


def bloom_texts(texts: Sequence[bytes], rules: Any, bits: Filter) -> tuple[list[bytes], list[list[int]]]:
    """The texts without paragraphs seen before, and of each how many n-grams it has and how many were seen.

    Reads and fills the filter in the order of the texts; a document that goes has an empty text.
    """
    remaining, seen_counts = [], []
    for text in texts:
        counts, out = [0, 0], b""
        for number, paragraph in enumerate(text.split(b"\n")):
            if not _seen_before(paragraph, rules, bits, counts):
                out += (b"\n" if out or number else b"") + paragraph
        if rules.documents and counts[0] and counts[1] > rules.threshold * counts[0]:
            out = b""
        remaining.append(out.lstrip())
        seen_counts.append(counts)
    return remaining, seen_counts
