"""The main content of HTML pages as plain text or Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from herd.corpus.plain.blocks import write_blocks
from herd.corpus.plain.choosing import outline
from herd.corpus.plain.html import Tree, attribute, decode_entities, parse_html
from herd.corpus.plain.inline import CODE_BLOCK, HEADING, ITEM, PARAGRAPH, QUOTE, ROW, TextBlock
from herd.corpus.plain.outline import COMMENTS, NAMES, NOTHING
from herd.corpus.plain.tables import int_constant, values, words
from herd.corpus.plain.text import is_alpha, put_rune, runes, utf8_prefix

_FILE = "extract.cpp"
_OUTCOMES = values("extract.hpp", "Outcome")
HAS_TEXT, NO_TEXT, LATE = (_OUTCOMES[name] for name in ("Extracted", "NoText", "Late"))
_TALK: dict[bytes, list[bytes]] = {}
for _start in words(_FILE, "kEmptyTalk"):
    _TALK.setdefault(_start[:1], []).append(_start)
_LONG_HEADING, _FEW_LETTERS = int_constant(_FILE, "kLongHeading"), int_constant(_FILE, "kFewLetters")
_ENDS = tuple(end.encode() for end in ".?!:;\u3002\uff1f\uff01\u201d\u00bb\u2026\u061f\u0964\u2019")
_SPACES = re.compile(rb"[ \t-\r]+")
_READING = frozenset(("Rt", "Rp", "Rtc"))  # of a word, above it in print
_ESCAPES = {b"n": b"\n", b"r": b"\n", b"t": b" "}


@dataclass
class PageText:
    """What was found on a page; letters: all of them."""

    text: bytes = b""
    title: bytes = b""
    language: bytes = b""
    outcome: int = NO_TEXT
    code_letters: int = 0
    formulas: int = 0
    letters: int = 0


def _ends_sentence(text: bytes) -> bool:
    return text.rstrip(b")\"'").endswith(_ENDS)


def _is_empty_talk(text: bytes) -> bool:
    """Short lines that say nothing about the page's subject, by their first words."""
    if len(text) > 90 or not text:
        return False
    lowered = text.lower()
    for start in _TALK.get(lowered[:1], ()):
        if not lowered.startswith(start) or is_alpha((lowered[len(start) :] or b" ")[0]):
            continue
        # A sentence that happens to begin so is a sentence.
        if len(lowered) < len(start) + 40 or not _ends_sentence(text):
            return True
    return False


# ---- which blocks stay ----


def _is_content(block: TextBlock, options: Any) -> bool:
    if block.kind == CODE_BLOCK:
        return True
    if block.letters == 0:
        return False
    if 100 * block.linked > options.links_percent * block.letters and block.kind not in (HEADING, ROW):
        return False
    if _is_empty_talk(block.text):
        return False
    short = block.kind == PARAGRAPH and block.letters < options.short_block
    return not (short and not _ends_sentence(block.text) and block.marks == 0)


def _content(blocks: Sequence[TextBlock], options: Any) -> list[TextBlock]:
    """The blocks that stay. A heading with nothing below it announced something that was dropped."""
    content: list[TextBlock] = []
    level_below, text_below = 7, False  # the level of the heading that follows; 0: text follows
    for block in reversed(blocks):
        if not _is_content(block, options):
            continue
        if block.kind != HEADING or block.letters >= _LONG_HEADING:
            text_below, level_below = True, 7
        elif not text_below and level_below > 0 and not (level_below < 7 and level_below > block.level):
            continue
        else:
            level_below, text_below = block.level, False
        content.append(block)
    return content[::-1]


# ---- joining ----


def _markdown(block: TextBlock) -> bytes:
    text = block.text
    if block.kind == HEADING:
        return b"#" * block.level + b" " + text
    if block.kind == ITEM:
        before = b" " * (2 * (block.level - 1) if block.level > 1 else 0)
        mark = b"  " if block.number < 0 else b"%d. " % block.number if block.number > 0 else b"- "
        return before + mark + text.replace(b"\n", b"\n" + before + b"  ")
    if block.kind == CODE_BLOCK:
        return b"```\n" + text + b"\n```"
    if block.kind == QUOTE:
        return b"> " + text.replace(b"\n", b"\n> ")
    if block.kind == ROW:
        columns = 1 + len(re.findall(rb"(?= \| )", text[1:]))
        return b"| " + text + b" |" + (b"\n|" + b" --- |" * columns if block.header else b"")
    return text


def _join(blocks: Sequence[TextBlock], markdown: bool) -> bytes:
    parts = []
    for number, block in enumerate(blocks):
        if number:
            together = block.kind in (ITEM, ROW) and blocks[number - 1].kind == block.kind and not block.starts
            parts.append(b"\n" if together else b"\n\n")
        parts.append(_markdown(block) if markdown else block.text)
    return b"".join(parts)


# ---- what stands in the head ----


def _title_of(tree: Tree) -> bytes:
    titles = {"Title": b"", "H1": b""}
    i = -1
    while (i := i + 1) < len(tree.nodes):
        own = tree.nodes[i]
        if own.tag == "Svg":
            i = own.end - 1
        elif own.tag in titles and not titles[own.tag]:
            raw, k = [], i
            while (k := k + 1) < own.end:
                if tree.nodes[k].tag in _READING:
                    k = tree.nodes[k].end - 1
                elif tree.nodes[k].tag == "Text":
                    raw.append(decode_entities(tree.nodes[k].raw))
            titles[own.tag] = _SPACES.sub(b" ", b"".join(raw)).strip(b" ")
            if all(titles.values()):
                break
    return titles["Title"] or titles["H1"]


def _language_of(tree: Tree) -> bytes:
    for own in tree.nodes:
        if own.tag == "Html":
            code = attribute(own, b"lang") or attribute(own, b"xml:lang")
            letters = re.match(rb"[A-Za-z]*", code[:3])
            return letters[0].lower() if letters else b""
        if own.tag == "Body":
            break
    return b""


def _write(tree: Tree, options: Any, strictness: int, out: PageText) -> None:
    page_blocks = write_blocks(outline(tree, options, strictness))
    blocks = _content(page_blocks.blocks, options) if options.main_only else page_blocks.blocks
    letters = sum(block.letters for block in blocks)
    if letters <= 2 * out.letters:
        return
    out.letters = letters
    out.text = _join(blocks, bool(options.markdown))
    out.formulas, out.code_letters = page_blocks.formulas, page_blocks.code_letters
    out.outcome = HAS_TEXT if out.text else NO_TEXT


# ---- pages that a script fills: the text they hand to search engines ----


def _hexadecimal(digits: bytes) -> int:
    return int(digits, 16) if re.fullmatch(rb"[0-9A-Fa-f]+", digits) else 0xFFFD


def _json_text(json: bytes, at: int) -> bytes:
    """The JSON string whose first character stands at `at`, up to its closing quote."""
    out = []
    while at < len(json) and json[at] != 0x22:
        if json[at] != 0x5C or at + 1 >= len(json):
            out.append(json[at : at + 1])
            at += 1
            continue
        at += 1
        sign = json[at : at + 1]
        if sign == b"u" and at + 4 < len(json):
            code = _hexadecimal(json[at + 1 : at + 5])
            at += 4
            if 0xD800 <= code < 0xDC00 and at + 6 < len(json) and json[at + 1 : at + 3] == b"\\u":
                low = _hexadecimal(json[at + 3 : at + 7])
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) if 0xDC00 <= low < 0xE000 else 0xFFFD
                at += 6
            out.append(put_rune(0xFFFD if 0xD800 <= code < 0xE000 else code))
        else:
            out.append(_ESCAPES.get(sign, sign))
        at += 1
    return b"".join(out)


def _described_text(tree: Tree) -> bytes:
    for own, inside in zip(tree.nodes, tree.nodes[1:], strict=False):
        if own.tag != "Script" or inside.tag != "Text" or b"ld+json" not in attribute(own, b"type"):
            continue
        json = inside.raw
        at = json.find(b'"articleBody"')
        if at < 0:
            continue
        colon = json.find(b":", at)
        at = json.find(b'"', colon) if colon >= 0 else -1
        if at >= 0:
            return _json_text(json, at + 1)
    return b""


def _repair_utf8(text: bytes) -> bytes:
    """Pages may hold anything; texts are UTF-8."""
    if utf8_prefix(text) == len(text):
        return text
    return b"".join(put_rune(code) for _, code, _ in runes(text))


def extract(page: bytes, options: Any) -> PageText:
    """The main content of a page. options: as `extract` of the room gives them to the kernels."""
    out = PageText()
    tree = parse_html(page, options.deadline_seconds)
    if tree.late:
        out.outcome = LATE
        return out
    out.title, out.language = _title_of(tree), _language_of(tree)
    for strictness in (NAMES, COMMENTS, NOTHING):
        if out.letters < _FEW_LETTERS and (strictness == NAMES or options.main_only):
            _write(tree, options, strictness, out)
    if out.letters < _FEW_LETTERS:
        text = _described_text(tree)
        if len(text) > 4 * out.letters:
            out.letters, out.text, out.outcome = len(text), text, HAS_TEXT
    out.text, out.title = _repair_utf8(out.text), _repair_utf8(out.title)
    return out
