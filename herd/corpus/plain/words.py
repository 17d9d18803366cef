"""Characters and words as the filters of the literature count them."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from herd.corpus.characters import BLANK, DIGIT, IDEOGRAPH, LETTER, MARK, SYMBOL, TERMINAL, UPPER, tables
from herd.corpus.plain.text import is_alpha, is_digit, rune_at, runes

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
_K = 0x9FB21C651E98DF25
_QUOTE = b"\xe2\x80\x99"
_CLASSES, _LOWERED = (table.tolist() for table in tables()[:2])
_BLANKS = [chr(code).encode() for code, kind in enumerate(_CLASSES) if code >= 0x80 and kind & BLANK]
_BLANK = re.compile(rb"(?:[\t-\r \x1c-\x1f]|" + b"|".join(_BLANKS) + rb")+")


def rune_class(code: int) -> int:
    """The bits of `characters` that hold for a code point."""
    if code < len(_CLASSES):
        return _CLASSES[code]
    if 0xFE10 <= code <= 0xFE6F:
        return SYMBOL
    if code in (0xFF01, 0xFF0E, 0xFF1F, 0xFF61):
        return SYMBOL | TERMINAL
    if 0xFF00 <= code <= 0xFF0F:
        return SYMBOL
    if 0xFF10 <= code <= 0xFF19:
        return DIGIT
    if 0xFF1A <= code <= 0xFF20:
        return SYMBOL
    if 0xD800 <= code <= 0xF8FF or 0x1F000 <= code <= 0x1FAFF or code == 0xFEFF or code >= 0xE0000:
        return 0
    if 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF:
        return LETTER | IDEOGRAPH
    return LETTER


def rune_lower(code: int) -> int:
    return _LOWERED[code] if code < len(_LOWERED) else code


def mix(x: int) -> int:
    x ^= x >> 32
    x = x * 0xD6E8FEB86659FD93 & MASK
    x ^= x >> 32
    x = x * 0xD6E8FEB86659FD93 & MASK
    return x ^ x >> 32


def chain_hash(before: int, word: int) -> int:
    return ((before ^ word) * GOLDEN + 1) & MASK


@lru_cache(1 << 16)
def hash_bytes(text: bytes) -> int:
    """64 bits that tell texts apart."""
    aligned = len(text) & ~7
    h = len(text) * _K & MASK
    for (word,) in struct.iter_unpack("<Q", text[:aligned]):
        h = (h ^ word) * _K & MASK
        h ^= h >> 35
    return mix((h ^ int.from_bytes(text[aligned:], "little")) * _K & MASK)


class Word(NamedTuple):
    """A word of a text, bytes [begin, end) of it. letter: holds one; symbol: holds nothing but symbols; upper: all its
    letters are capitals."""

    hash: int
    characters: int
    begin: int
    end: int
    letter: bool
    symbol: bool
    upper: bool


@lru_cache(1 << 16)
def _looks(word: bytes) -> tuple[int, int, bool, bool, bool]:
    """Hash, characters, and whether it holds a letter, symbols alone, capitals alone."""
    if word.isalpha():
        return hash_bytes(word), len(word), True, False, word.isupper()
    kinds = [rune_class(code) for _, code, _ in runes(word)]
    letters = [kind for kind in kinds if kind & LETTER]
    symbol = all(kind & SYMBOL for kind in kinds)
    return hash_bytes(word), len(kinds), bool(letters), symbol, bool(letters) and all(kind & UPPER for kind in letters)


class _Splitter:
    """Splits one text into words, from its first byte to its last."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.words: list[Word] = []
        self.run_end = 0  # of the run of hyphens or tildes met last

    def run(self) -> list[Word]:
        at = 0
        for blank in _BLANK.finditer(self.text):
            if blank.start() > at:
                self.chunk(at, blank.start())
            at = blank.end()
        if at < len(self.text):
            self.chunk(at, len(self.text))
        return self.words

    def step(self, at: int) -> int:
        return 1 if self.text[at] < 0x80 else rune_at(self.text, at)[1]

    def class_at(self, at: int) -> int:
        return rune_class(rune_at(self.text, at)[0])

    def before(self, at: int) -> int:
        at -= 1
        while at > 0 and self.text[at] & 0xC0 == 0x80:
            at -= 1
        return at

    def byte(self, at: int) -> bytes:
        return self.text[at : at + 1]

    def add(self, begin: int, end: int) -> None:
        looks = _looks(self.text[begin:end])
        self.words.append(Word(looks[0], looks[1], begin, end, *looks[2:]))

    def chunk(self, begin: int, to: int) -> None:
        piece = self.text[begin:to]
        if piece.isalpha():
            self.add(begin, to)
            return
        address = b"://" in piece or piece.startswith(b"www.")
        begin = self.prefixes(begin, to)
        end = self.suffixes(begin, to, address)
        if begin < end:
            if address or b"@" in piece:
                self.add(begin, end)
            else:
                self.inside(begin, end)
        self.tails(end, to)

    def prefixes(self, begin: int, to: int) -> int:
        while begin < to:
            dots = self.run_of_dots(begin, to)
            if dots >= 2:
                self.add(begin, begin + dots)
                begin += dots
                continue
            sign = self.byte(begin)
            if not self.class_at(begin) & SYMBOL or sign in b".@/-\\~^|":
                break
            if sign == b"+" and begin + 1 < to and is_digit(self.text[begin + 1]):
                break
            end = begin + self.step(begin)
            self.add(begin, end)
            begin = end
        return begin

    def run_of_dots(self, begin: int, to: int) -> int:
        end = begin
        while end < to and self.text[end] == 0x2E:
            end += 1
        return end - begin

    def suffixes(self, begin: int, to: int, address: bool) -> int:
        """Where the punctuation and contractions at the end begin."""
        while to > begin:
            last = self.before(to)
            sign = self.byte(last)
            if length := self.contraction(begin, to):
                to -= length
                continue
            if not self.class_at(last) & SYMBOL or sign in b"@-/\\~^=|":
                break
            after_digit = last > begin and is_digit(self.text[last - 1])
            if sign in b"%$+" and not after_digit:
                break
            if address and sign == b"/":
                break
            if sign == b"." and last > begin and not self.splits_dot(begin, last):
                break
            to = last
        return to

    def splits_dot(self, begin: int, dot: int) -> bool:
        """`U.S.` and `J.` keep their dot, `end.` and `2019.` do not."""
        text, letter = self.text, self.text[dot - 1]
        if letter == 0x2E:
            return True
        if 65 <= letter <= 90:
            return dot - begin >= 2 and 65 <= text[dot - 2] <= 90
        # Abbreviations hold a dot themselves: `a.m.`, `e.g.`
        return not (dot - begin >= 3 and text[dot - 2] == 0x2E and is_alpha(letter))

    def contraction(self, begin: int, to: int) -> int:
        """The length of 's, n't and their like at the end; 0 for none."""
        for back in (1, 2, 3):
            if to - begin <= back:
                return 0
            at = to - back
            if is_alpha(self.text[at]):
                continue
            quote = at + 1 >= begin + 3 and self.text[at - 2 : at + 1] == _QUOTE
            mark = 1 if self.text[at] == 0x27 else 3 if quote else 0
            if not mark or at + 1 - mark <= begin:
                return 0
            start, tail = at + 1 - mark, self.text[at + 1 : to].lower()
            if tail == b"t" and start > begin + 1 and self.text[start - 1] in b"nN":
                return to - start + 1
            return to - start if tail in (b"s", b"m", b"d", b"re", b"ve", b"ll") else 0
        return 0

    def inside(self, begin: int, to: int) -> None:
        """Hyphens, slashes, commas and dots between words."""
        start = at = begin
        while at < to:
            width, first = self.step(at), self.text[at]
            length = 0
            if first >= 0xE3 and self.class_at(at) & IDEOGRAPH:  # every character is a word
                length = width
            elif at > begin and at + width < to and (first >= 0x80 or not (is_alpha(first) or is_digit(first))):
                length = self.infix(begin, at, to, width)
            if length:
                if start < at:
                    self.add(start, at)
                self.add(at, at + length)
                at += length
                start = at
            else:
                at += width
        if start < to:
            self.add(start, to)

    def infix(self, begin: int, at: int, to: int, width: int) -> int:
        text, sign = self.text, self.byte(at)
        if sign == b".":
            dots = self.run_of_dots(at, to)
            if dots >= 2:
                return dots
            return int(97 <= text[at - 1] <= 122 and 65 <= text[at + 1] <= 90)
        left_letter = self.class_at(max(begin, self.before(at))) & LETTER
        right_letter = self.class_at(at + width) & LETTER
        left_digit, right_digit = is_digit(text[at - 1]), is_digit(text[at + width])
        if sign in (b"-", b"~"):
            # A run that splits nothing is counted once, not again from every mark in it.
            if at >= self.run_end or self.byte(self.run_end - 1) != sign:
                self.run_end = at + 1
                while self.run_end < to and self.byte(self.run_end) == sign:
                    self.run_end += 1
            run = self.run_end - at
            if (left_letter or left_digit) and at + run < to and self.class_at(at + run) & LETTER:
                return run
            return int(sign == b"-" and left_digit and (right_digit or text[at + 1] == 0x2D))
        if sign in (b",", b";"):
            return int(bool(left_letter and right_letter))
        if sign in (b":", b"<", b">", b"=", b"/"):
            return int(bool((left_letter or left_digit) and right_letter))
        if sign in (b"+", b"*", b"^"):
            return int(left_digit and right_digit)
        mark = text[at : at + 3]
        if width == 3 and mark in (b"\xe2\x80\x93", b"\xe2\x80\x94"):  # dashes
            return 3 if (left_letter or left_digit) and right_letter else 0
        return 3 if width == 3 and mark == b"\xe2\x80\xa6" else 0  # an ellipsis

    def tails(self, begin: int, to: int) -> None:
        while begin < to:
            dots = self.run_of_dots(begin, to)
            end = begin + (dots if dots >= 2 else self.step(begin))
            first = self.text[begin]
            if first == 0x27 or self.text[begin : begin + 3] == _QUOTE or is_alpha(first):
                end = begin + (self.contraction_from(begin, to) or end - begin)
            self.add(begin, end)
            begin = end

    def contraction_from(self, begin: int, to: int) -> int:
        at = begin + is_alpha(self.text[begin])  # the n of n't
        mark = 1 if at < to and self.text[at] == 0x27 else 3 if self.text[at : at + 3] == _QUOTE else 0
        if not mark:
            return 0
        at += mark
        letters = at
        while at < to and is_alpha(self.text[at]):
            at += 1
        return at - begin if at > letters else 0


def split_words(text: bytes) -> list[Word]:
    """Splits as spaCy's English rules do where they matter for counting: punctuation is a word of its own, contractions
    and hyphenated words are split, addresses and numbers are not."""
    return _Splitter(text).run()


def is_unspaced(code: int) -> bool:
    """Whether it is of a script without blanks whose characters are no words: Thai, Lao, Tibetan, Burmese, Khmer."""
    return 0x0E00 <= code <= 0x17FF and (code <= 0x109F or code >= 0x1780)


def _is_fine(code: int) -> bool:
    return is_unspaced(code) or (code >= 0x3040 and bool(rune_class(code) & IDEOGRAPH))


def _letters(text: bytes, word: Word) -> Iterator[Word]:
    """The letters of a word in a script without blanks, each with its marks; the word where it is in none."""
    spelled = [(code, width) for _, code, width in runes(text[word.begin : word.end])]
    if not any(width >= 3 and _is_fine(code) for code, width in spelled):
        yield word
        return

    def letter(begin: int, end: int, characters: int) -> Iterator[Word]:
        if end > begin:
            yield word._replace(hash=hash_bytes(text[begin:end]), characters=characters, begin=begin, end=end)

    begin = end = word.begin
    characters, before = 0, False
    for code, width in spelled:
        fine = _is_fine(code)
        # What stands between them in another script, or a number, stays one word.
        if (fine or before) and not rune_class(code) & MARK:
            yield from letter(begin, end, characters)
            begin, characters = end, 0
        before = fine
        end += width
        characters += 1
    yield from letter(begin, end, characters)


def split_finely(text: bytes) -> list[Word]:
    """As split_words does, but in scripts without blanks a letter with its marks is a word: what texts share is looked
    for wherever it stands between others."""
    finely: list[Word] = []
    for word in split_words(text):
        if word.characters < 2 or word.characters == word.end - word.begin:
            finely.append(word)
        else:
            finely.extend(_letters(text, word))
    return finely


def lower_runes(text: bytes, word: Word) -> Iterator[int]:
    """The code points of a word, in lower case."""
    return (rune_lower(code) for _, code, _ in runes(text[word.begin : word.end]))
