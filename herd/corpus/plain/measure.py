"""Statistics of documents, measured once for all the rules that judge by them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from herd.corpus.characters import TERMINAL
from herd.corpus.plain.kinds import count_formulas, count_mathematical_signs, is_code_line
from herd.corpus.plain.tables import values
from herd.corpus.plain.text import count_characters, put_rune, rune_at, split_lines
from herd.corpus.plain.words import GOLDEN, Word, chain_hash, hash_bytes, lower_runes, rune_class, split_words

STATS = [name for name in values("measure.hpp", "Stat") if name != "StatCount"]
_MULTIPLIER, _ONE = np.uint64(GOLDEN), np.uint64(1)
_SHORT, _LONG = 30, 200
_ELLIPSIS, _BULLET = "…".encode(), "•".encode()

Hashes = NDArray[np.uint64]


class WordLists:
    """What is counted beside words and lines. stop_words: of each language, the places of each hash."""

    stop_words: ClassVar[list[dict[int, list[int]]]] = []
    dirty_words: frozenset[int] = frozenset()
    longest_dirty = 0


def set_stop_words(languages: Sequence[Sequence[bytes]]) -> None:
    """Stop words of each language; the language of `measure_text` points at these."""
    WordLists.stop_words = []
    for stop_words in languages:
        places: defaultdict[int, list[int]] = defaultdict(list)
        for place, word in enumerate(stop_words):
            places[hash_bytes(word)].append(place)
        WordLists.stop_words.append(dict(places))


def set_dirty_words(phrases: Sequence[bytes]) -> None:
    """Dirty words and phrases, lower case."""
    hashes, longest = set[int](), 0
    for phrase in phrases:
        words = [hash_bytes(phrase[word.begin : word.end]) for word in split_words(phrase) if not word.symbol]
        h = 0
        for word in words:
            h = chain_hash(h, word)
        if words:
            hashes.add(h)
            longest = max(longest, len(words))
    WordLists.dirty_words, WordLists.longest_dirty = frozenset(hashes), longest


def last_class(text: bytes) -> int:
    """The class of the last character; 0 where there is none."""
    if not text:
        return 0
    at = len(text) - 1
    while at > 0 and text[at] & 0xC0 == 0x80:
        at -= 1
    return rune_class(rune_at(text, at)[0])


def count_sentences(text: bytes, words: Sequence[Word]) -> int:
    """Sentences in all words of `text`; one goes on to the next word after its marks."""
    if not words:
        return 0
    count, after_end = 1, False
    for word in words:
        own = text[word.begin : word.end]
        if word.symbol and last_class(own) & TERMINAL and (len(own) == 1 or own[0] >= 0x80):
            after_end = True
        elif after_end and not word.symbol:
            count += 1
            after_end = False
    return count


def _count_words(text: bytes, words: Sequence[Word], language: int, counts: Counter[str]) -> None:
    counts["Words"] = len(words)
    stops = WordLists.stop_words[language] if 0 <= language < len(WordLists.stop_words) else {}
    distinct_stops = set[int]()
    for word in words:
        if not word.symbol:
            counts["PlainWords"] += 1
            counts["PlainCharacters"] += word.characters
        counts["AlphaWords"] += word.letter
        counts["ShoutedWords"] += word.upper and word.characters > 1
        counts["LongestWord"] = max(counts["LongestWord"], word.characters)
        if word.characters <= 12 and word.hash in stops:
            counts["StopWordUses"] += len(stops[word.hash])
            distinct_stops.update(stops[word.hash])
    counts["StopWords"] = len(distinct_stops)
    counts["Digits"] = len(text) - len(text.translate(None, b"0123456789"))
    counts["Uppercase"] = len(text) - len(text.translate(None, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"))


def _count_all_lines(text: bytes, counts: Counter[str]) -> None:
    for line in split_lines(text):
        counts["AllLines"] += 1
        counts["BulletLines"] += line.lstrip().startswith((_BULLET, b"-"))
        counts["EllipsisLines"] += line.rstrip().endswith((b"...", _ELLIPSIS))


def _count_lines(text: bytes, counts: Counter[str]) -> None:
    """Lines as FineWeb counts them (not blank) and as Gopher's repetition rules do (between runs of newlines)."""
    pieces = text.split(b"\n")
    counts["Newlines"] = len(pieces) - 1
    seen_lines = set[bytes]()
    for number, line in enumerate(pieces):
        if line.lstrip():
            counts["Lines"] += 1
            counts["EndedLines"] += last_class(line) & TERMINAL > 0
            counts["ShortLines"] += count_characters(line) <= _SHORT
            counts["LongLines"] += count_characters(line) >= _LONG
            counts["CodeLines"] += is_code_line(line)
        # re.split("\n+") yields empty pieces only at the very ends.
        if line or number in (0, len(pieces) - 1):
            counts["SplitLines"] += 1
            if line in seen_lines:
                counts["RepeatedLines"] += 1
                counts["RepeatedLineCharacters"] += count_characters(line)
            seen_lines.add(line)


def _count_paragraphs(text: bytes, counts: Counter[str]) -> None:
    text, at, seen_paragraphs = text.strip(), 0, set[bytes]()
    while True:
        to = text.find(b"\n\n", at)
        to = len(text) if to < 0 else to
        paragraph = text[at:to]
        counts["Paragraphs"] += 1
        if paragraph in seen_paragraphs:
            counts["RepeatedParagraphs"] += 1
            counts["RepeatedParagraphCharacters"] += count_characters(paragraph)
        seen_paragraphs.add(paragraph)
        if to == len(text):
            return
        at = to
        while at < len(text) and text[at] == 0x0A:
            at += 1


def _top_ngram(ngrams: Hashes, before: NDArray[np.int64], n: int) -> int:
    """Characters inside the most frequent run of n words, spaces between them included; of runs as frequent the one met
    first."""
    _, inverse, frequency = np.unique(ngrams, return_inverse=True, return_counts=True)
    frequencies = frequency[inverse]
    first = int(frequencies.argmax())
    return int(frequencies[first]) * int(before[first + n] - before[first] + n - 1)


def _repeated_ngrams(ngrams: Hashes, before: NDArray[np.int64], n: int) -> int:
    """Characters inside runs of n words that stood before already, none counted twice."""
    seen_keys, repeated, at, keys = set[int](), 0, 0, ngrams.tolist()
    while at < len(keys):
        if keys[at] in seen_keys:
            repeated += int(before[at + n] - before[at])
            at += n
        else:
            seen_keys.add(keys[at])
            at += 1
    return repeated


def _count_ngrams(words: Sequence[Word], counts: Counter[str]) -> None:
    own = np.array([word.hash for word in words], np.uint64)
    before = np.concatenate([[0], np.cumsum([word.characters for word in words], dtype=np.int64)]).astype(np.int64)
    hashes = own * _MULTIPLIER + _ONE
    for n in range(2, 11):
        # The hashes of runs of n words from those of n - 1.
        hashes = (hashes[: max(0, len(own) - n + 1)] ^ own[n - 1 :]) * _MULTIPLIER + _ONE
        if not len(hashes):
            return
        ngrams = hashes ^ (hashes >> np.uint64(29))
        if n <= 4:
            counts[f"Top{n}"] = _top_ngram(ngrams, before, n)
        elif (repeated := _repeated_ngrams(ngrams, before, n)) == 0:
            return  # longer runs hold shorter ones
        else:
            counts[f"Repeated{n}"] = repeated


def _count_dirty(text: bytes, words: Sequence[Word]) -> int:
    plain = [hash_bytes(b"".join(map(put_rune, lower_runes(text, word)))) for word in words if not word.symbol]
    count = 0
    for start in range(len(plain)):
        h = 0
        for word in plain[start : start + WordLists.longest_dirty]:
            h = chain_hash(h, word)
            count += h in WordLists.dirty_words
    return count


def measure_text(text: bytes, language: int) -> list[float]:
    """The numbers of STATS for a text. language: an index into the stop words, -1 for none known."""
    counts: Counter[str] = Counter()
    words = split_words(text)
    counts["Characters"], counts["TextBytes"] = count_characters(text), len(text)
    counts["Braces"], counts["Hashes"] = text.count(b"{"), text.count(b"#")
    counts["Ellipses"] = text.count(b"...") + text.count(_ELLIPSIS)
    counts["Lorem"] = b"lorem ipsum" in text.lower()
    counts["Formulas"], counts["MathematicalSigns"] = count_formulas(text), count_mathematical_signs(text)
    _count_words(text, words, language, counts)
    _count_all_lines(text, counts)
    _count_lines(text, counts)
    _count_paragraphs(text, counts)
    _count_ngrams(words, counts)
    counts["Sentences"] = count_sentences(text, words)
    if WordLists.dirty_words:
        counts["DirtyWords"] = _count_dirty(text, words)
    return [float(counts[name]) for name in STATS]
