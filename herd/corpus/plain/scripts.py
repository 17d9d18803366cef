"""Raised and lowered text in a line: 10^6, x_i, H2O, the 1st, a note[1]; and formulas of MathML."""

from __future__ import annotations

import re
from dataclasses import dataclass

from herd.corpus.characters import BLANK, LETTER
from herd.corpus.plain.html import BLOCKS, VOIDS, Node, Tree, attribute, decode_entities
from herd.corpus.plain.tables import int_constant, words
from herd.corpus.plain.text import is_alnum, is_alpha, is_digit, is_space, last_rune, put_rune, rune_at, runes
from herd.corpus.plain.words import rune_class

_FILE = "scripts.cpp"
_LONGEST, _MOST_NODES = int_constant(_FILE, "kLongest"), int_constant(_FILE, "kMostNodes")
_DEEPEST_SCRIPT, _DEEPEST_MATH = int_constant(_FILE, "kDeepestScript"), int_constant(_FILE, "kDeepestMath")
_ENDINGS = frozenset(words(_FILE, "kEndings"))
_SIGNS = tuple(sign.encode() for sign in "\u2212\u2013\u2011")
_NUMBER = re.compile(rb"[0-9][0-9.,]*")
_MARK = re.compile(rb"[0-9][0-9,\- ]{0,9}[0-9]")
_NAME = re.compile(rb"[A-Za-z0-9:]*\Z")
_NOTE_NAME = re.compile(rb"note|ref|cite|fn")
_ROUND_OR_SQUARE, _CLOSING = frozenset(b")]"), frozenset(b")]|}")


def _sign_bytes(text: bytes) -> int:
    """Of a sign before or after a number, in any of its forms."""
    return 1 if text[:1] in (b"+", b"-") else 3 if text.startswith(_SIGNS) else 0


def _is_letter(code: int) -> bool:
    return is_alpha(code) if code < 0x80 else rune_class(code) & LETTER > 0


def _is_number(text: bytes) -> bool:
    """A number with or without a sign: 6, -3, 2.5, 2+."""
    text = text[_sign_bytes(text) :]
    match = _NUMBER.match(text)
    if not match:
        return False
    tail = text[match.end() :]
    return not tail or _sign_bytes(tail) == len(tail)


def _is_mark(text: bytes) -> bool:
    """A note's mark: 3, 1,2, 4-6, a."""
    return is_alnum(text[0]) if len(text) == 1 else _MARK.fullmatch(text) is not None


def _is_word(text: bytes) -> bool:
    return bool(text) and all(_is_letter(code) for _, code, _ in runes(text))


def _is_one_letter(text: bytes) -> bool:
    return _is_word(text) and rune_at(text, 0)[1] == len(text)


def _is_sign_alone(text: bytes) -> bool:
    return bool(text) and _sign_bytes(text) == len(text)


@dataclass
class _Script:
    """What a script holds, as far as it decides how it is written. spaced: ends in white space."""

    text: bytes = b""
    nested: bool = False
    linked: bool = False
    plain: bool = True
    spaced: bool = False


class _Base:
    """The text before a script: its last run of letters or digits."""

    def __init__(self, before: bytes) -> None:
        self.text, self.digits, self.letters, self.wide = before, 0, 0, False
        start, digits_ended = len(before), False
        while start > 0:
            code, width = last_rune(before[:start])
            digit = code < 0x80 and is_digit(code)
            if not digit and not _is_letter(code):
                break
            if self.letters == 0 and digit and not digits_ended:
                self.digits += 1
            elif digit or self.digits:
                break
            else:
                digits_ended = True
                self.letters += 1
                self.wide = self.wide or code >= 0x2E80
                if self.letters > 12:
                    break
            start -= width
        self.start = start

    def is_year(self) -> bool:
        before = self.text[self.start - 1] if self.start else 0x20
        century = self.text.startswith((b"18", b"19", b"20"), self.start)
        return self.digits == 4 and century and not is_digit(before) and before not in b".,"

    def is_price(self) -> bool:
        before = self.text[: self.start].rstrip(b",. 0123456789")
        if not before:
            return False
        code, _ = last_rune(before)
        return code in (0x24, 0xA3, 0xA5) or 0x20A0 <= code < 0x20D0

    def is_chemical(self) -> bool:
        """A symbol of a chemical formula: letters with capitals, a lower one only after its capital."""
        own = self.text[self.start :]
        if not own or not is_alpha(own[-1]):
            return False
        return own[-1] <= 90 or (len(own) > 1 and 65 <= own[-2] <= 90)

    def is_formula_in_brackets(self) -> bool:
        """Words between the brackets before a script are no formula."""
        text, close = self.text, len(self.text) - 1
        open_at = text[: close + 1].rfind(b"(" if text.endswith(b")") else b"[")
        return open_at < 0 or re.search(rb"[A-Za-z]{4}", text[open_at + 1 : close]) is None


def _after(mark: bytes, own: _Script) -> bytes:
    plain = not own.nested and (
        _is_number(own.text)
        or _is_one_letter(own.text)
        or (mark == b"_" and all(is_alnum(byte) or byte >= 0x80 for byte in own.text))
    )
    if own.text.startswith(b"(") and own.text.find(b")") == len(own.text) - 1:
        plain = True
    return mark + own.text if plain else mark + b"(" + own.text + b")"


def _noted(own: _Script) -> bytes:
    return b"[" + own.text + b"]" if _is_mark(own.text) else b""


def _raised_after_digits(own: _Script, base: _Base) -> bytes:
    text, bare = own.text, own.text.isdigit()
    if bare and len(text) == 2 and base.is_price():
        return b"." + text
    if _is_word(text) and (text.lower() in _ENDINGS or not _is_one_letter(text)):
        return b""
    if bare and len(text) < 3 and base.is_year():
        return _noted(own)
    return _after(b"^", own) if _is_number(text) or own.nested or _is_word(text) or not bare else b""


def _raised_after_letters(own: _Script, base: _Base, last: int) -> bytes:
    text, is_short = own.text, base.letters <= 3 and not base.wide
    if text.isdigit() and (not is_short or (text == b"1" and base.letters > 1)):
        return _noted(own) if len(text) < 4 else b""
    if _is_number(text) or own.nested:
        return _after(b"^", own) if is_short else b""
    if _is_word(text):
        upper, ending = 65 <= last <= 90, text.lower() in _ENDINGS
        if _is_one_letter(text):
            title = upper and ending and text[:1].lower() == text[:1]
            return _after(b"^", own) if base.letters < 3 and not title else b""
        short = base.letters == 1 and not upper and not ending and len(text) < 5
        return _after(b"^", own) if short else b""
    says = is_digit(text[-1]) or _is_letter(last_rune(text)[0]) or text[-1] == 0x29
    return _after(b"^", own) if is_short and says else b""


def _raised(own: _Script, before: bytes, note: bool) -> bytes:
    base, text = _Base(before), own.text
    last, _ = last_rune(before)
    if note:
        return _noted(own)
    if _is_sign_alone(text):
        return b""
    if base.digits:
        return _raised_after_digits(own, base)
    if base.letters:
        return _raised_after_letters(own, base, last)
    if last in _CLOSING:
        if _is_mark(text) and last in _ROUND_OR_SQUARE and not base.is_formula_in_brackets():
            return _noted(own)
        return b"" if _is_word(text) and not _is_one_letter(text) else _after(b"^", own)
    if 0x2200 <= last < 0x2300:
        return _after(b"^", own)
    return _noted(own) if text.isdigit() and len(text) < 4 and last != 0x5E else b""


def _lowered(own: _Script, before: bytes) -> bytes:
    base, text = _Base(before), own.text
    last, _ = last_rune(before)
    if own.linked or _is_sign_alone(text):
        return b""
    bare = _is_number(text) and not _sign_bytes(text)
    if base.digits:
        return _after(b"_", own)
    if base.letters:
        if bare:
            return b"" if base.is_chemical() or base.wide else _after(b"_", own)
        if _is_one_letter(text) or not _is_word(text):
            return _after(b"_", own)
        return _after(b"_", own) if base.letters < 3 else b""
    symbol = 0x2200 <= last < 0x2300 or last == 0x7C
    return _after(b"_", own) if symbol or (last in _ROUND_OR_SQUARE and not bare) else b""


def _gather(tree: Tree, i: int, depth: int) -> _Script:
    out, k = _Script(), i
    while (k := k + 1) < tree.nodes[i].end:
        own = tree.nodes[k]
        out.linked = out.linked or own.link
        if own.tag == "Text":
            text = decode_entities(own.raw[:400])
            for at, code, _ in runes(text):
                if not (is_space(text[at]) or rune_class(code) & BLANK):
                    out.text += put_rune(code)
                elif out.text and not out.text.endswith(b" "):
                    out.text += b" "
        elif own.tag in ("Sup", "Sub"):
            out.nested = True
            inner = _written(tree, k, out.text, depth + 1) if out.text and depth < _DEEPEST_SCRIPT else b""
            if inner:
                out.text += inner
                k = own.end - 1
        elif own.tag in BLOCKS or own.tag in VOIDS or own.tag in ("Script", "Math"):
            out.plain = False
        if len(out.text) > _LONGEST:
            break
    out.spaced = out.text.endswith(b" ")
    out.text = out.text[:-1] if out.spaced else out.text
    return out


def _is_note(tree: Tree, i: int, script: _Script) -> bool:
    """Whether a script is the mark of a note: a link of its own, or named so."""
    own = tree.nodes[i]
    above = tree.nodes[max(own.parent, 0)]
    if script.linked or (above.link and own.end == above.end):
        return True
    names = attribute(own, b"class"), attribute(own, b"id")
    return any(_NOTE_NAME.search(name) for name in names)


def _written(tree: Tree, i: int, before: bytes, depth: int) -> bytes:
    if not before or is_space(before[-1]) or tree.nodes[i].end - i > _MOST_NODES:
        return b""
    own = _gather(tree, i, depth)
    if not own.text or len(own.text) > _LONGEST or not own.plain:
        return b""
    lower = tree.nodes[i].tag == "Sub"
    text = _lowered(own, before) if lower else _raised(own, before, _is_note(tree, i, own))
    return text + b" " if text and own.spaced else text


def script_text(tree: Tree, i: int, before: bytes) -> bytes:
    """What stands for the <sup> or <sub> at node i after the text `before`; empty where its content follows as it
    is."""
    return _written(tree, i, before, 0)


def _name_of(node: Node) -> bytes:
    """The name of an element that has no tag of its own; it stands right before the attributes."""
    match = _NAME.search(node.page[max(0, node.start - 64) : node.start])
    name = match[0] if match else b""
    return name[name.find(b":") + 1 :]


def _grouped(text: bytes) -> bytes:
    return text if not text or _is_number(text) or _is_word(text) else b"(" + text + b")"


def _math_inside(tree: Tree, i: int, depth: int) -> bytes:
    own, children = tree.nodes[i], []
    if own.tag == "Annotation":
        return b""
    k = i + 1
    while k < own.end:
        node = tree.nodes[k]
        if node.tag == "Text":
            text = decode_entities(node.raw)
            if text.strip(b" \t\r\n"):
                children.append(text)
        else:
            children.append(_math_inside(tree, k, depth + 1) if depth < _DEEPEST_MATH else b"")
        k = node.end
    name = _name_of(own) if own.tag == "Other" else b""
    grouped = [_grouped(child) for child in children]
    if name == b"msqrt":
        return b"sqrt(" + b"".join(children) + b")"
    if name == b"mroot" and len(children) == 2:
        return grouped[0] + b"^(1/" + children[1] + b")"
    if name == b"msubsup" and len(children) == 3:
        return grouped[0] + b"_" + grouped[1] + b"^" + grouped[2]
    sign = {b"mfrac": b"/", b"msup": b"^", b"msub": b"_"}.get(name)
    return sign.join(grouped) if sign and len(children) == 2 else b"".join(children)


def math_text(tree: Tree, i: int) -> bytes:
    """A <math> that brings no TeX along, in a line: (a)/(b), x^2, sqrt(x)."""
    return _math_inside(tree, i, 0)
