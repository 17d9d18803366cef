"""What texts share word by word: lines, long runs, and runs of an evaluation set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from herd.corpus.characters import BLANK, DIGIT, SYMBOL
from herd.corpus.plain.text import put_rune, runes, split_lines
from herd.corpus.plain.words import (
    GOLDEN,
    MASK,
    Word,
    chain_hash,
    hash_bytes,
    mix,
    rune_class,
    rune_lower,
    split_finely,
    split_words,
)

_ZERO = ord("0")


def line_key(line: bytes) -> int:
    """CCNet's key of a line: letter case, digits, punctuation and blanks do not count. 0 for a line of nothing else."""
    h = 0
    for _, code, _ in runes(line):
        kind = rune_class(code)
        if not kind & (SYMBOL | BLANK) and code >= 0x20:
            h = chain_hash(h, _ZERO if kind & DIGIT else rune_lower(code))
    return mix(h) if h else 0


def line_keys(text: bytes) -> list[int]:
    return [key for line in split_lines(text) if (key := line_key(line))]


def drop_lines(text: bytes, keys: Mapping[int, int]) -> tuple[bytes, int]:
    """The text without the lines whose key is among `keys`, and how many these were."""
    out, blank, dropped = b"", False, 0
    for line in split_lines(text):
        if (key := line_key(line)) and key in keys:
            dropped += 1
        elif not line:
            blank = True
        else:
            between = b"" if not out else b"\n\n" if blank else b"\n"
            out += between + line
            blank = False
    return out, dropped


def _windows(words: Sequence[Word], length: int) -> Iterator[int]:
    """A hash of every run of `length` words, rolling."""
    if len(words) < length:
        return
    power = pow(GOLDEN, length - 1, 1 << 64)
    h = 0
    for word in words[:length]:
        h = (h * GOLDEN + word.hash) & MASK
    for start in range(len(words) - length + 1):
        yield mix(h)
        if start + length < len(words):
            h = ((h - words[start].hash * power) * GOLDEN + words[start + length].hash) & MASK


def window_keys(text: bytes, length: int) -> list[int]:
    """Hashes of every run of `length` words, in order."""
    return list(_windows(split_finely(text), length))


def cut_repeats(
    text: bytes, length: int, keys: Mapping[int, int], first: NDArray[np.int64] | None, start: int
) -> tuple[bytes, int, int]:
    """The text without what runs of `length` words cover whose key is among `keys`, how many words that is, and the
    number of windows. first: for each key the number of the window that stays, counted through all texts."""
    words = split_finely(text)
    spans: list[list[int]] = []
    count = 0
    for at, key in enumerate(_windows(words, length)):
        count += 1
        place = keys.get(key)
        if place is None or (first is not None and first[place] == start + at):
            continue
        if spans and at <= spans[-1][1]:
            spans[-1][1] = at + length
        else:
            spans.append([at, at + length])
    parts, copied = [], 0
    for begin, end in spans:
        parts.append(text[copied : words[begin].begin])
        copied = words[end - 1].end
    out = b"".join((*parts, text[copied:]))
    # What is left of the blanks round a cut.
    return (out.strip() if spans else out), sum(end - begin for begin, end in spans), count


def _is_invisible(code: int) -> bool:
    """Marks where a line may break or two letters may join; no reader sees them."""
    return code in (0xAD, 0xFEFF) or 0x200B <= code <= 0x200F or 0x2060 <= code <= 0x2064


def plain_words(text: bytes) -> list[Word]:
    """Words with case, accents and punctuation folded away; those of nothing else are left out."""
    plain = []
    for word in split_finely(text):
        if word.symbol:
            continue
        codes = (code for _, code, _ in runes(text[word.begin : word.end]))
        spelled = b"".join(
            put_rune(rune_lower(code)) for code in codes if not rune_class(code) & SYMBOL and not _is_invisible(code)
        )
        if spelled:
            plain.append(word._replace(hash=hash_bytes(spelled)))
    return plain


def grams(text: bytes, n: int) -> Iterator[tuple[int, int, int]]:
    """(key, begin, end) of every run of n words, letter case, accents and punctuation aside."""
    words = plain_words(text)
    for start in range(len(words) - n + 1):
        h = 0
        for word in words[start : start + n]:
            h = chain_hash(h, word.hash)
        yield mix(h), words[start].begin, words[start + n - 1].end


# ---- addresses ----


def _bare(address: bytes) -> bytes:
    address = address.lstrip().rstrip(b" \t\n\v\f\r/")
    colon = address[:12].find(b"://")
    if colon >= 0:
        address = address[colon + 3 :]
    return address[4:] if len(address) > 4 and address[:4].lower() == b"www." else address


def address_key(address: bytes) -> int:
    """The key of an address or a domain: letter case, scheme, `www.` and a trailing slash do not count."""
    return hash_bytes(_bare(address).lower())


def list_keys(block_list: bytes) -> set[int]:
    """The keys of a block list, an entry a line; `#` starts a comment."""
    entries = (_bare(line.split(b"#", 1)[0]) for line in block_list.split(b"\n"))
    return {hash_bytes(entry.lower()) for entry in entries if entry}


def domain_keys(url: bytes) -> list[int]:
    """The keys of the host of `url` and of every domain above it, but for the top one."""
    host = _bare(url)
    for end in b"/?#":
        host = host.split(bytes([end]), 1)[0]
    host = host.rsplit(b"@", 1)[-1].split(b":", 1)[0].rstrip(b".")
    keys = []
    while b"." in host:
        keys.append(hash_bytes(host.lower()))
        host = host.split(b".", 1)[1]
    return keys


# ---- words against the corpus's ----


def count_unigrams(texts: Iterable[bytes], bits: int, counts: NDArray[np.int64]) -> None:
    """Adds the words of all texts to counts[1 << bits]."""
    for text in texts:
        for word in split_words(text):
            counts[word.hash >> (64 - bits)] += 1


def divergence(texts: Iterable[bytes], bits: int, counts: NDArray[np.int64]) -> tuple[list[float], list[int]]:
    """The Kullback-Leibler divergence of each text's distribution of words from the corpus', in nats; and its words."""
    total = float(counts.sum()) + len(counts)
    divergences, lengths = [], []
    for text in texts:
        own = Counter(word.hash >> (64 - bits) for word in split_words(text))
        n = own.total()
        terms = (
            count / n * math.log(count / n / ((float(counts[bucket]) + 1) / total)) for bucket, count in own.items()
        )
        divergences.append(math.fsum(terms))
        lengths.append(n)
    return divergences, lengths
