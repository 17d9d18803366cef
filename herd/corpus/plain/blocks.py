"""A page's content as a row of blocks: paragraphs, headings, items, rows of tables, program text."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise

from herd.corpus.plain.formulas import bare_formula, looks_like_tex
from herd.corpus.plain.hints import hints_of
from herd.corpus.plain.html import BLOCKS, HEADINGS, Node, attribute, decode_entities
from herd.corpus.plain.inline import CODE_BLOCK, HEADING, ITEM, QUOTE, ROW, InlineWriter, TextBlock, letters_in
from herd.corpus.plain.listing import listed_text
from herd.corpus.plain.outline import Outline
from herd.corpus.plain.scripts import math_text, script_text
from herd.corpus.plain.tables import int_constant
from herd.corpus.plain.text import is_space

_SMALL_CELL = int_constant("blocks.cpp", "kSmallCell")  # letters
_DEEPEST_LIST = 20
_SPACES = bytes((9, 10, 11, 12, 13, 32))
_EMPHASIS = {
    **dict.fromkeys(("B", "Strong"), b"**"),
    **dict.fromkeys(("I", "Em"), b"*"),
    **dict.fromkeys(("Code", "Tt", "Kbd", "Samp"), b"`"),
}


@dataclass
class PageBlocks:
    """The blocks of a page, and how many formulas and letters of program text they hold."""

    blocks: list[TextBlock] = field(default_factory=list)
    formulas: int = 0
    code_letters: int = 0


class _Inside(InlineWriter):
    """What is written of an element's inside at once: its raw text, scripts, formulas, pictures' descriptions."""

    def __init__(self, page: Outline) -> None:
        super().__init__()
        self.page, self.nodes, self.parts = page, page.nodes, page.parts
        self.output = PageBlocks()
        self.last_formula, self.last_formula_at = b"", 0

    def write_script(self, i: int) -> bool:
        """An exponent or an index; false where what stands in it is written as it stands."""
        text = script_text(self.page.tree, i, self.block.text)
        if not text:
            return False
        self.block.text += text
        self.block.letters += letters_in(text)
        if i < self.link_end:
            self.block.linked += len(text)
        return True

    def raw_inside(self, i: int) -> bytes:
        return b"".join(node.raw for node in self.nodes[i + 1 : self.nodes[i].end] if node.tag == "Text")

    def text_inside(self, i: int) -> bytes:
        out, rows, row, k = b"", 0, 0, i
        while (k := k + 1) < self.nodes[i].end:
            own = self.nodes[k]
            starts_line = not out or out.endswith(b"\n")
            if self.parts[k].dropped:
                k = own.end - 1
            elif own.tag == "Text":
                out += decode_entities(own.raw)
            elif own.tag == "Br" or (own.tag in ("Div", "Li") and not starts_line):
                out += b"\n"
            elif own.tag == "Tr":  # a row a line, empty ones too
                if rows and (len(out) == row or not out.endswith(b"\n")):
                    out += b"\n"
                rows += 1
                row = len(out)
            elif own.tag in ("Sup", "Sub") and (script := script_text(self.page.tree, k, out)):
                out += script
                k = own.end - 1
        return out

    def picture(self, own: Node) -> None:
        alt_text = self.page.options.alt_text
        alt = attribute(own, b"alt") if alt_text else b""
        if not alt:
            return
        text = decode_entities(alt)
        if looks_like_tex(text, hints_of(own)):
            self.formula(text, False)
        elif alt_text == 2:
            self.append_collapsed(b" " + text + b" ")

    def formula(self, source: bytes, display: bool) -> None:
        """TeX between dollars, once: pages repeat a formula as MathML, as a picture and as what a script drew."""
        tex, display = bare_formula(source, display)
        if not tex or (tex == self.last_formula and len(self.block.text) == self.last_formula_at):
            return
        mark = b"$$" if display else b"$"
        self.block.text += mark + tex + mark
        self.block.letters += len(tex)
        self.last_formula, self.last_formula_at = tex, len(self.block.text)
        self.output.formulas += 1

    def math(self, i: int) -> None:
        own = self.nodes[i]
        display = attribute(own, b"display").lower() == b"block"
        for k in range(i + 1, own.end):
            if self.nodes[k].tag == "Annotation" and b"tex" in attribute(self.nodes[k], b"encoding"):
                self.formula(decode_entities(self.raw_inside(k)), display)
                return
        alt = decode_entities(attribute(own, b"alttext"))
        if alt:
            self.formula(alt, display)
        else:
            self.append_collapsed(math_text(self.page.tree, i))


class _Writer(_Inside):
    """Writes the elements of one page as blocks."""

    def __init__(self, page: Outline) -> None:
        super().__init__(page)
        self.markdown = bool(page.options.markdown)
        self.open: list[int] = []
        self.lists: list[list[int]] = []  # whether it is ordered, and how many items it has so far
        self.table_end = self.cells = self.pending_number = 0
        self.in_row = self.header = self.starts = self.pending_item = False

    def write_element(self, root: int) -> None:
        self.block.home = root
        i = root - 1
        while (i := i + 1) < self.nodes[root].end:
            while self.open and self.nodes[self.open[-1]].end <= i:
                self.leave()
            if self.parts[i].dropped:
                i = self.nodes[i].end - 1
            elif self.nodes[i].tag == "Text":
                self.write_text(self.nodes[i], i)
            elif self.page.is_listing(i) and not self.in_row:
                self.program(i)
                i = self.nodes[i].end - 1
            else:
                i = self.enter(i)
        while self.open:
            self.leave()
        self.flush()

    # ---- elements ----

    def enter(self, i: int) -> int:
        """Opens an element; returns the node to go on after, which is the element's last one when it is all written."""
        own = self.nodes[i]
        tag = own.tag
        if tag in ("Br", "Hr", "Wbr", "Img"):
            self.void(own)
            return i
        if self.is_written_whole(i, tag):
            return own.end - 1
        if tag == "Table":
            self.table(i)
        elif tag == "Tr" and i < self.table_end:
            self.flush()
            self.in_row = True
            self.block.kind = ROW
            self.cells = 0
        elif tag in ("Td", "Th") and self.in_row:
            self.trim_end()
            if self.cells:
                self.block.text += b" | " if self.markdown else b"\t"
            self.cells += 1
            self.open.append(i)
            return i
        elif tag in ("Ul", "Ol") and not self.in_row:  # a row is a line, whatever its cells hold
            self.flush()
            self.lists.append([tag == "Ol", 0])
            self.starts = len(self.lists) == 1
        elif tag == "A" and own.link:
            self.link_end = max(self.link_end, own.end)
        if tag in BLOCKS:
            self.part_cell() if self.in_row else self.start_block(i)
        self.emphasis(tag)
        self.open.append(i)
        return i

    def void(self, own: Node) -> None:
        if own.tag == "Br":
            self.pending_joiners = b""
            self.block.text += b" " if self.block.kind == ROW else b"\n"
        elif own.tag == "Hr":
            self.part_cell() if self.in_row else self.flush()
        elif own.tag == "Img":
            self.picture(own)

    def is_written_whole(self, i: int, tag: str) -> bool:
        """Whether the element was written by what it is, with all inside of it."""
        if tag == "Script":
            self.formula(self.raw_inside(i), b"display" in attribute(self.nodes[i], b"type"))
        elif tag == "Math":
            self.math(i)
        elif tag in ("Pre", "Xmp") and not self.in_row:
            self.program(i)
        else:
            return tag in ("Sup", "Sub") and self.write_script(i)
        return True

    def table(self, i: int) -> None:
        if self.is_code_table(i):
            self.flush()
        elif not self.in_row and _is_data(self.page, i):
            self.table_end = max(self.table_end, self.nodes[i].end)
            self.starts = self.header = True

    def leave(self) -> None:
        own = self.nodes[self.open.pop()]
        self.emphasis(own.tag)
        if own.tag == "Tr" and self.in_row:
            self.flush()
            self.in_row = self.header = False
        elif self.in_row:
            if own.tag in BLOCKS and own.tag not in ("Td", "Th"):
                self.part_cell()
        elif own.tag in ("Ul", "Ol"):
            self.flush()
            if self.lists:
                self.lists.pop()
        elif own.tag in BLOCKS:
            self.flush()
            self.block.home = own.parent

    def part_cell(self) -> None:
        """What stands in blocks of its own in a cell is parted by a space."""
        self.pending_joiners = b""
        if self.block.text and not is_space(self.block.text[-1]):
            self.block.text += b" "

    def start_block(self, i: int) -> None:
        own = self.nodes[i]
        self.flush()
        block = self.block
        block.home = i
        depth = min(len(self.lists), _DEEPEST_LIST)
        if own.tag in HEADINGS:
            block.kind, block.level = HEADING, HEADINGS[own.tag]
        elif own.tag == "Li":
            block.kind = ITEM
            if self.lists:
                block.level, block.number = depth, 0
                if self.lists[-1][0]:
                    self.lists[-1][1] += 1
                    block.number = self.lists[-1][1]
        elif self.lists:  # a paragraph inside an item
            block.kind, block.level = ITEM, depth
            block.number = self.pending_number if self.pending_item else -1
        elif own.tag == "Blockquote":
            block.kind = QUOTE
        if own.tag == "Li":
            self.pending_item, self.pending_number = True, block.number

    def emphasis(self, tag: str) -> None:
        if self.markdown and self.block.kind != HEADING:
            self.block.text += _EMPHASIS.get(tag, b"")

    def trim_end(self) -> None:
        self.pending_joiners = b""
        self.block.text = self.block.text.rstrip(b" \n")

    def flush(self) -> None:
        self.trim_end()
        if self.block.text:
            self.block.starts, self.block.header = self.starts, self.header
            self.starts = self.pending_item = False
            self.output.blocks.append(self.block)
        self.block = TextBlock(home=self.block.home)
        if self.lists and not self.in_row:
            self.block.kind, self.block.level = ITEM, min(len(self.lists), _DEEPEST_LIST)
            self.block.number = -1

    # ---- program text ----

    def program(self, i: int) -> None:
        inside = self.nodes[i].tag in ("Pre", "Xmp")
        text = self.text_inside(i) if inside else listed_text(self.page.tree, self.parts, i)
        text = text.replace(b"\xc2\xa0", b" ")  # spaces that do not break are spaces in program text
        if _is_line_numbers(text) and self.has_neighbour(i):
            return
        code = b"\n".join(line.rstrip() for line in text.split(b"\n")).strip(b"\n")
        if not code:
            return
        self.flush()
        self.block.letters += len(code.translate(None, _SPACES))
        self.output.code_letters += self.block.letters
        self.block.kind, self.block.text, self.block.home, self.block.starts = CODE_BLOCK, code, i, True
        self.output.blocks.append(self.block)
        self.block = TextBlock(home=self.nodes[i].parent)

    def has_neighbour(self, i: int) -> bool:
        """Whether program text stands in another cell of the same row."""
        row = self.nodes[i].parent
        for _ in range(4):
            if row <= 0 or self.nodes[row].tag == "Tr":
                break
            row = self.nodes[row].parent
        return self.nodes[row].tag == "Tr" and self.has_program(self.nodes[i].end, self.nodes[row].end)

    def has_program(self, begin: int, end: int) -> bool:
        at = bisect_left(self.page.programs, begin)
        return at < len(self.page.programs) and self.page.programs[at] < end

    # ---- tables ----

    def is_code_table(self, i: int) -> bool:
        """Line numbers in one cell, program text in the other."""
        return self.has_program(i, self.nodes[i].end)


def _is_cells_heading(page: Outline, i: int) -> bool:
    """A heading that is all a header cell holds names its column; one in a small cell names what the cell says."""
    above, letters = page.nodes[page.nodes[i].parent], page.parts[page.nodes[i].parent].letters
    if above.tag == "Th":
        return page.parts[i].letters == letters
    return above.tag == "Td" and HEADINGS[page.nodes[i].tag] >= 3 and letters <= _SMALL_CELL


def _is_data(page: Outline, i: int) -> bool:
    """Data has short cells; a table that lays out a page holds paragraphs, lists or tables."""
    rows = cells = big = 0
    k = i
    while (k := k + 1) < page.nodes[i].end:
        tag = page.nodes[k].tag
        if page.parts[k].dropped:
            k = page.nodes[k].end - 1
            continue
        if tag in ("Table", "Pre") or page.is_listing(k):
            return False
        rows += tag == "Tr"
        if tag in ("Td", "Th"):
            cells += 1
            big += page.parts[k].letters > 400
        if tag in HEADINGS and not _is_cells_heading(page, k):
            return False
    return rows > 0 and cells > rows and big * 4 <= cells


def _is_line_numbers(text: bytes) -> bool:
    """Whether the lines count up and say nothing else."""
    numbers = text.split()
    if len(numbers) < 2 or not all(number.isdigit() and len(number) <= 8 for number in numbers):
        return False
    return all(int(after) == int(before) + 1 for before, after in pairwise(numbers))


def write_blocks(page: Outline) -> PageBlocks:
    """What the outline leaves of a page, in its order."""
    writer = _Writer(page)
    for lead in page.leads:
        writer.write_element(lead)
    writer.write_element(page.main)
    return writer.output
