"""How many letters a text has, and how much of it reads like running text."""

from __future__ import annotations

import re

from herd.corpus.plain.html import HEADINGS
from herd.corpus.plain.parts import Mass

_REFERENCE = re.compile(rb"&[^;]{0,8};")  # is one letter
_IDEOGRAPHIC_STOP = re.compile(rb"\xe3\x80[\x00-\x82]")
# A Chinese, Japanese or Korean character says as much as two letters or more.
_WIDE, _STARTS = frozenset(range(0xE3, 0xEE)), frozenset((*range(0x21, 0x80), *range(0xC0, 0x100)))
_MARKS = frozenset(b".,?!;")
_ZERO, _FIFTH, _HALF = Mass(0), Mass(0.2), Mass(0.5)


def _complement(counted: frozenset[int]) -> bytes:
    """All other bytes, for `bytes.translate` to delete."""
    return bytes(byte for byte in range(256) if byte not in counted)


_NOT_STARTS, _NOT_WIDE, _NOT_MARKS = _complement(_STARTS), _complement(_WIDE), _complement(_MARKS)


def count_letters(raw: bytes) -> tuple[int, int]:
    """Letters of any script; the marks that running text has and menus have not."""
    references = 0
    if b"&" in raw:
        raw, references = _REFERENCE.subn(b" ", raw)
    count = references + len(raw.translate(None, _NOT_STARTS)) + len(raw.translate(None, _NOT_WIDE))
    marks = len(raw.translate(None, _NOT_MARKS))
    return count, marks + len(_IDEOGRAPHIC_STOP.findall(raw))


def mass_of(tag: str, letters: int, linked: int, marks: int, links_percent: int) -> Mass:
    """How much of a run of inline text in such an element reads like running text."""
    if tag in ("Pre", "Xmp"):
        return Mass(letters)
    free = Mass(letters - linked)
    if 100 * linked > links_percent * letters:
        return _ZERO
    if tag in HEADINGS:
        return _FIFTH * free
    if letters >= 80 or (letters >= 25 and marks > 0):
        return free
    return (_HALF if tag == "P" else _FIFTH) * free
