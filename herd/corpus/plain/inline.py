"""The inline content of a page as it is put together, block by block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from herd.corpus.characters import BLANK, SYMBOL
from herd.corpus.plain.html import Node, decode_entities
from herd.corpus.plain.text import is_alnum, is_space, last_rune, put_rune, rune_at
from herd.corpus.plain.words import rune_class

PARAGRAPH, HEADING, ITEM, ROW, CODE_BLOCK, QUOTE = range(6)
_PRINTED = re.compile(rb"[!-~]+")
_NO_LETTERS = bytes((*range(33), *range(0x80, 0xC0)))
_NO_MARKS = bytes(byte for byte in range(256) if byte not in b".,?!")


@dataclass
class TextBlock:
    """A run of inline content, or a table row, or program text. level: of a heading, of a list's nesting; number: of an
    ordered item; header: a table's first row; starts: its list or table starts here; home: the element it stands in."""

    kind: int = PARAGRAPH
    level: int = 0
    number: int = 0
    header: bool = False
    starts: bool = False
    linked: int = 0
    letters: int = 0
    marks: int = 0
    home: int = 0
    text: bytes = b""


def letters_in(text: bytes) -> int:
    """Characters that show."""
    return len(text.translate(None, _NO_LETTERS))


def _joins(code: int) -> bool:
    """Whether a joiner may stand beside this character: letters, marks, digits and emoji."""
    if code < 0x80:
        return is_alnum(code)
    return code >= 0xC0 and code not in (0xFFFD, 0x200B, 0xFEFF) and not rune_class(code) & (SYMBOL | BLANK)


def _runs(text: bytes) -> Iterator[tuple[str, bytes]]:
    """What a browser makes of a text: (`text`, bytes), (`blank`, nothing) or (`joiner`, its code point in digits)."""
    at = 0
    while at < len(text):
        if match := _PRINTED.match(text, at):
            yield "text", match[0]
            at = match.end()
            continue
        code, width = rune_at(text, at)
        if code <= 0x20 or code == 0x7F:
            if is_space(code):
                yield "blank", b""
        elif code in (0x200C, 0x200D):
            yield "joiner", str(code).encode()
        elif code in (0xA0, 0x3000, 0x2028, 0x2029, 0x202F) or 0x2000 <= code <= 0x200A:
            yield "blank", b""
        elif not (0x200B <= code <= 0x200F or 0x80 <= code < 0xA0 or code in (0xFEFF, 0xAD, 0x2060)):
            yield "text", put_rune(code)
        at += width


class InlineWriter:
    """The block that text is written to. pending_joiners: joiners, until it is seen what follows them; link_end: where
    the link ends that text stands in."""

    def __init__(self) -> None:
        self.block = TextBlock()
        self.pending_joiners = b""
        self.link_end = 0

    def write_text(self, node: Node, i: int) -> None:
        before = len(self.block.text)
        self.append_collapsed(decode_entities(node.raw))
        fresh = self.block.text[before:]
        letters = letters_in(fresh)
        self.block.letters += letters
        self.block.marks += len(fresh.translate(None, _NO_MARKS))
        if i < self.link_end:
            self.block.linked += letters

    def append_collapsed(self, text: bytes) -> None:
        """Runs of white space become one space; what browsers do not show (zero-width, controls) goes."""
        for kind, run in _runs(text):
            out = self.block.text
            if kind == "text":
                if self.pending_joiners:
                    self.join() if _joins(rune_at(run, 0)[0]) else self.let_go()
                self.block.text += run
            elif kind == "blank":
                self.pending_joiners = b""
                if out and not is_space(out[-1]):
                    self.block.text += b" "
            else:
                self.hold_joiner(int(run))

    def let_go(self) -> None:
        self.pending_joiners = b""

    def hold_joiner(self, code: int) -> None:
        """Zero-width joiners and non-joiners belong to words of many scripts and to emoji; elsewhere they are left
        out."""
        if self.pending_joiners:
            self.pending_joiners += put_rune(code)
        elif self.block.text:
            before, _ = last_rune(self.block.text)
            if not _joins(before):
                return
            self.pending_joiners = put_rune(code)
            # At the end of a word too it says how a letter of Arabic or of India is written.
            if code == 0x200D and 0x600 <= before < 0x1000:
                self.join()

    def join(self) -> None:
        self.block.text += self.pending_joiners
        self.pending_joiners = b""
