"""Program text that a page lays out without <pre>: a table row or a box for every line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from herd.corpus.plain.hints import CODE, GUTTER
from herd.corpus.plain.html import BLOCKS, Tree, attribute, decode_entities, has_attribute
from herd.corpus.plain.kinds import is_code_line
from herd.corpus.plain.parts import Part
from herd.corpus.plain.tables import int_constant
from herd.corpus.plain.text import is_alnum, is_alpha

_MOST_CELL = int_constant("listing.cpp", "kMostCell")
_CELLS = frozenset({"Td", "Th"})
_BLANKS = b" \t\r\n"
_LINE = re.compile(rb"line")
Parts = Sequence[Part]


def _children(tree: Tree, i: int) -> Iterator[int]:
    k = i + 1
    while k < tree.nodes[i].end:
        yield k
        k = tree.nodes[k].end


def raw_text(tree: Tree, parts: Parts, i: int) -> bytes:
    """The text inside node i as it stands in the page, without what is dropped."""
    out, k = [], i + 1
    while k < tree.nodes[i].end:
        own = tree.nodes[k]
        if parts[k].dropped:
            k = own.end
            continue
        if own.tag == "Text":
            out.append(decode_entities(own.raw))
        elif own.tag == "Br":
            out.append(b"\n")
        k += 1
    return b"".join(out)


def _only_number(text: bytes) -> int:
    """The number that is all a cell holds; -1 where there is none."""
    digits = b"".join(text.split())
    return min(int(digits.lstrip(b"0")[:20] or b"0"), 1 << 40) if digits.isdigit() else -1


@dataclass
class _Row:
    """What one row of a table says about whether the table is a listing. cells: but for those with the line's number;
    named: its line is named as program text; number: where the cell does not say what it is; line: the cell with it."""

    cells: int = 0
    numbered: bool = False
    named: bool = False
    number: int = -1
    line: int = 0


def _holds_only_code(tree: Tree, i: int) -> bool:
    first = i + 1
    while first < tree.nodes[i].end and tree.nodes[first].tag == "Text" and not tree.nodes[first].raw.strip(_BLANKS):
        first += 1
    return first < tree.nodes[i].end and tree.nodes[first].tag in ("Code", "Tt", "Samp", "Pre")


def _is_line_in_cell(tree: Tree, parts: Parts, i: int) -> bool:
    """Whether a box of program text in a cell is one line."""
    if tree.nodes[tree.nodes[i].parent].tag not in _CELLS or tree.nodes[i].end - i > _MOST_CELL:
        return False
    return b"\n" not in raw_text(tree, parts, i).strip(b"\r\n")


def _look_at_row(tree: Tree, parts: Parts, i: int) -> _Row:
    row = _Row()
    for k in _children(tree, i):
        own = tree.nodes[k]
        if own.tag not in _CELLS:
            continue
        hints, first = parts[k].hints, row.cells == 0
        if first and (hints & GUTTER or has_attribute(own, b"data-line-number")):
            row.numbered = True
            continue
        if parts[k].dropped:
            continue
        number = _only_number(raw_text(tree, parts, k)) if first and row.number < 0 else -1
        if number >= 0 and own.end < tree.nodes[i].end:
            row.number = number
            continue
        row.cells += 1
        row.line = k
        row.named = row.named or bool(hints & CODE) or _holds_only_code(tree, k)
    return row


def _names_a_line(name: bytes) -> bool:
    """`line`, `code-line`, `line-12`; not `headline`, nor how many lines a box may show."""
    for match in _LINE.finditer(name):
        before = name[match.start() - 1] if match.start() else 0x20
        after = name[match.end()] if match.end() < len(name) else 0x20
        if is_alnum(before) or is_alpha(after):
            continue
        if not name.startswith((b"-clamp", b"-through", b"-height"), match.end()):
            return True
    return b"CodeMirror-line" in name


def _holds_block(tree: Tree, i: int) -> bool:
    return any(node.tag in BLOCKS for node in tree.nodes[i + 1 : tree.nodes[i].end])


def _is_header(tree: Tree, i: int) -> bool:
    """A row that names the columns."""
    if any(tree.nodes[k].tag == "Td" for k in _children(tree, i)):
        return False
    return tree.nodes[tree.nodes[i].parent].tag == "Thead"


def _has_number(tree: Tree, parts: Parts, i: int) -> bool:
    """Whether a line's number stands before it in its box."""
    return any(part.dropped and part.hints & GUTTER for part in parts[i + 1 : min(tree.nodes[i].end, i + 5)])


def _line(text: bytes) -> bytes:
    return text.removeprefix(b"\r").removeprefix(b"\n").rstrip() + b"\n"


def is_listed_by_rows(tree: Tree, parts: Parts, i: int) -> bool:
    """Whether the table at node i is a listing: numbers in one column, the lines in another."""
    rows = numbered = counted = named = alike = full = boxed = 0
    last, k = -1, i
    while (k := k + 1) < tree.nodes[i].end:
        own = tree.nodes[k]
        if own.tag in ("Table", "P", "Ul", "Ol"):
            return False
        if own.tag == "Pre":
            boxed += 1
            if not _is_line_in_cell(tree, parts, k):
                return False
        if parts[k].dropped:
            k = own.end - 1
            continue
        if own.tag != "Tr" or _is_header(tree, k):
            continue
        row = _look_at_row(tree, parts, k)
        if row.cells == 0:
            continue
        if row.cells > 1 or tree.nodes[row.line].end - row.line > _MOST_CELL:
            return False
        rows += 1
        numbered += row.numbered
        if row.number >= 0:
            counted += last < 0 or row.number == last + 1
            last = row.number
        named += row.named
        if rows > 200:  # by then it is known what they look like
            continue
        line = raw_text(tree, parts, row.line)
        if line.strip(_BLANKS):
            full += 1
            alike += is_code_line(line)
    # Boxes of program text without numbers are programs of their own.
    mostly = rows > 0 and 10 * (numbered + counted) >= 8 * rows
    if boxed and (rows < 2 or not mostly):
        return False
    if not mostly:
        return rows > 1 and named == rows and 2 * alike >= full
    if 2 * named >= rows:
        return rows > 1 or numbered > 0
    return rows > 2 and (4 if numbered else 2) * alike >= full and alike > 0


def is_listed_by_boxes(tree: Tree, parts: Parts, i: int) -> bool:
    """Whether node i, which its author named as program text, holds a box for every line."""
    boxes, other_boxes, k = 0, 0, i
    while (k := k + 1) < tree.nodes[i].end:
        own = tree.nodes[k]
        if own.tag == "Text":
            continue
        if parts[k].dropped:
            k = own.end - 1
        elif own.tag == "Div" and not _holds_block(tree, k):
            if _names_a_line(attribute(own, b"class")):
                boxes += 1
            else:
                other_boxes += 1
            k = own.end - 1
        elif own.tag in BLOCKS and own.tag not in ("Div", "Td", "Th", "Tr", "Tbody", "Table"):
            return False
    return boxes > 0 and other_boxes * 4 <= boxes


def listed_text(tree: Tree, parts: Parts, i: int) -> bytes:
    """The lines of such a listing, or of a <pre> with a table in it, without their numbers."""
    out, k = [], i
    boxes = is_listed_by_boxes(tree, parts, i)
    while (k := k + 1) < tree.nodes[i].end:
        own = tree.nodes[k]
        if own.tag == "Text":
            continue
        if parts[k].dropped:
            k = own.end - 1
        elif boxes and own.tag == "Div" and not _holds_block(tree, k):
            line = raw_text(tree, parts, k)
            if _has_number(tree, parts, k):
                line = line[2:] if line.startswith(b"\xc2\xa0") else line.removeprefix(b" ")
            out.append(_line(line))
            k = own.end - 1
        elif not boxes and own.tag == "Tr":
            row = _Row() if _is_header(tree, k) else _look_at_row(tree, parts, k)
            if row.cells:
                out.append(_line(raw_text(tree, parts, row.line)))
            k = own.end - 1
    return b"".join(out)
