"""Program text and formulas inside documents, recognised by their looks."""

from __future__ import annotations

import re

from herd.corpus.plain.tables import int_constant, words
from herd.corpus.plain.text import is_alpha, is_space, runes

_FILE = "kinds.cpp"
_STARTS, _WEAK_STARTS = words(_FILE, "kStarts"), words(_FILE, "kWeakStarts")
_OPERATORS, _ENVIRONMENTS = words(_FILE, "kOperators"), words(_FILE, "kEnvironments")
_LONGEST_FORMULA = int_constant(_FILE, "kLongestFormula")
_SIGNS = [
    re.compile(rb"[A-Za-z0-9_]\([A-Za-z0-9_)\"']"),  # a call
    re.compile(rb"[^=]=[^=]", re.DOTALL),
    re.compile(rb"[A-Za-z0-9_]_[A-Za-z0-9_]"),
    re.compile(rb"[A-Za-z]\.[a-z]"),
]
_FORMULA_START = re.compile(rb"[$\\]")
_FORMULA_SIGN = re.compile(rb"[\\^_=]")
_MATHEMATICAL = frozenset((0xB1, 0xD7, 0xF7, 0xB2, 0xB3, 0xB9))


def is_code_line(line: bytes) -> bool:
    """Whether one line looks like program text."""
    bare = line.lstrip()
    indent = len(line) - len(bare)
    line = bare.rstrip()
    if not line:
        return False
    if not line.translate(None, b"{}()[];,"):
        return True
    points = int(indent >= 2) + 2 * (line[-1:] in (b";", b"{", b"}"))
    points += 2 * (len(line) > 2 and line[-2:] in (b"):", b"),"))
    points += sum(2 for start in _STARTS if line.startswith(start))
    points += sum(1 for start in _WEAK_STARTS if line.startswith(start))
    points += sum(1 for operator in _OPERATORS if operator in line)
    points += sum(1 for sign in _SIGNS if sign.search(line))
    # A long line of plain words is a sentence about code, however many signs it holds.
    tokens = line.split()
    plain = sum(token.isalpha() for token in tokens)
    return points >= (4 if len(tokens) >= 6 and 10 * plain >= 7 * len(tokens) else 2)


def _is_formula(inside: bytes) -> bool:
    """A formula between dollars: no prices, no variables of a shell."""
    if not inside or is_space(inside[0]) or is_space(inside[-1]) or b"\n\n" in inside:
        return False
    return is_alpha(inside[0]) if len(inside) <= 2 else bool(_FORMULA_SIGN.search(inside))


def _formula_length(text: bytes) -> int:
    """Of the formula that `text` begins with; 0 for none."""
    if text.startswith(b"$$"):
        return text.find(b"$$", 2) + 2 if b"$$" in text[2:] else 0
    if text.startswith(b"$"):
        end = text.find(b"$", 1)
        return end + 1 if end >= 0 and _is_formula(text[1:end]) else 0
    if text.startswith((b"\\(", b"\\[")):
        end = text.find(b"\\)" if text[1:2] == b"(" else b"\\]", 2)
        return end + 2 if end >= 0 else 0
    if text.startswith(b"\\begin{"):
        return max((7 + len(name) for name in _ENVIRONMENTS if text.startswith(name, 7)), default=0)
    return 0


def count_formulas(text: bytes) -> int:
    """TeX formulas: between dollars, \\( \\) or \\[ \\], or in an environment for them."""
    count, start = 0, _FORMULA_START.search(text)
    while start:
        length = _formula_length(text[start.start() : start.start() + _LONGEST_FORMULA])
        count += length > 0
        start = _FORMULA_START.search(text, start.start() + (length or 1))
    return count


def count_mathematical_signs(text: bytes) -> int:
    """Mathematical operators, letters and indices of Unicode."""
    if text.isascii():
        return 0
    return sum(
        code in _MATHEMATICAL
        or 0x2070 <= code <= 0x209F
        or 0x2200 <= code <= 0x22FF
        or 0x2A00 <= code <= 0x2AFF
        or 0x1D400 <= code <= 0x1D7FF
        for _, code, _ in runes(text)
        if code >= 0x80
    )
