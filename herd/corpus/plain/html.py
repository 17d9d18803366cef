"""A tolerant HTML parser: any bytes in, a flat tree out, in one pass and bounded memory.

Nodes lie in document order, so that the subtree of node i is the range (i, nodes[i].end). Tags have the names of the
C++ enumeration without its k: `Div`, `H1`; what has no tag of its own is `Other`.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from herd.corpus.plain.tables import int_constant, pairs, tags
from herd.corpus.plain.text import is_alpha, is_space, put_rune

_FILE = "html.cpp"
_DEEPEST, _LONGEST_ENTITY, _CLOCK_EVERY = (
    int_constant(_FILE, name) for name in ("kDeepest", "kLongestEntity", "kClockEvery")
)
_SLOWER = 1000  # than the compiled kernels, with room to spare: a page may take that much longer
_NAMES = dict(pairs(_FILE, "kNames"))
BLOCKS, VOIDS = tags(_FILE, "is_block"), tags(_FILE, "is_void")
_RAW_TEXT, _ENDS_PARAGRAPH = tags(_FILE, "holds_raw_text"), tags(_FILE, "ends_paragraph")
HEADINGS = {f"H{level}": level for level in range(1, 7)}
_NAME_END, _SPACES, _VALUE_END = re.compile(rb"[ \t-\r>/]"), re.compile(rb"[ \t-\r]*"), re.compile(rb"[ \t-\r]")
_BETWEEN, _ATTRIBUTE_END = re.compile(rb"[ \t-\r/]*"), re.compile(rb"[ \t-\r=/]")
_MARK = re.compile(rb"""[>='"]|[^ \t-\r]""")
_ENTITY = re.compile(rb"[A-Za-z0-9]*")
_NUMBER = re.compile(rb"&#(?:[xX]([0-9A-Fa-f]+)|([0-9]+));?")
# Windows-1252 where the standard says that people meant it (13.2.5.80).
_MEANT = {code: ord(bytes([code]).decode("cp1252", "ignore") or chr(code)) for code in range(0x80, 0xA0)}

ENTITIES: dict[bytes, bytes] = {}  # named character references, given once by the caller


class Node:
    """broken: opened deeper than the limit; holds nothing itself. link: an anchor that leads somewhere. end: one past
    the last node inside. start, length: where in the page a text stands, or an element's attributes, unparsed."""

    __slots__ = ("broken", "end", "length", "link", "page", "parent", "start", "tag")

    def __init__(self, tag: str, page: bytes, start: int, length: int, parent: int, number: int) -> None:
        self.tag, self.page, self.start, self.length, self.parent = tag, page, start, length, parent
        self.end, self.broken, self.link = number + 1, False, False

    @property
    def raw(self) -> bytes:
        return self.page[self.start : self.start + self.length]


class Tree:
    """late: the deadline passed before the end. body: the number of its node."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.late, self.body = False, 0


def attributes(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and values of an element; values are raw: entities are not decoded."""
    at, end = 0, len(raw)
    while True:
        at = _end_of(_BETWEEN, raw, at)
        if at >= end:
            return
        start = at
        at = _before(_ATTRIBUTE_END, raw, at)
        at += at == start  # a stray '='
        name = raw[start:at]
        look = _end_of(_SPACES, raw, at)
        if look >= end or raw[look] != 0x3D:
            yield name, b""
            continue
        at = _end_of(_SPACES, raw, look + 1)
        if at < end and raw[at] in b"\"'":
            close = raw.find(raw[at : at + 1], at + 1)
            close = end if close < 0 else close
            yield name, raw[at + 1 : close]
            at = min(end, close + 1)
        else:
            start, at = at, _before(_VALUE_END, raw, at)
            yield name, raw[start:at]


def _end_of(run: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = run.match(text, at)
    return match.end() if match else at


def _before(mark: re.Pattern[bytes], text: bytes, at: int) -> int:
    match = mark.search(text, at)
    return match.start() if match else len(text)


def attribute(node: Node, name: bytes) -> bytes:
    if node.length < len(name):
        return b""
    return next((value for key, value in attributes(node.raw) if key.lower() == name), b"")


def has_attribute(node: Node, name: bytes) -> bool:
    return any(key.lower() == name for key, _ in attributes(node.raw))


# What an opening tag closes: the nearest of the first, unless one of the second lies between.
_LIST_WALL = frozenset("Ul Ol Menu Table Td Th".split())
_DEFINITION_WALL = frozenset("Dl Table Td Th".split())
_TABLE_WALL = frozenset({"Table"})
_READING = frozenset("Rb Rt Rp Rtc".split())
_PARAGRAPH_WALL = frozenset("Button Td Th Table Caption Object Template".split())
_HEAD = frozenset({"Head"})
_IMPLIED: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "Li": (frozenset({"Li"}), _LIST_WALL),
    **dict.fromkeys(("Dt", "Dd"), (frozenset({"Dt", "Dd"}), _DEFINITION_WALL)),
    **dict.fromkeys(("Option", "Optgroup"), (frozenset({"Option"}), frozenset({"Select"}))),
    **dict.fromkeys(("Rb", "Rtc"), (_READING, BLOCKS)),
    **dict.fromkeys(("Rt", "Rp"), (_READING - {"Rtc"}, BLOCKS | {"Rtc"})),  # these may stand inside <rtc>
    **dict.fromkeys(("Td", "Th"), (frozenset({"Td", "Th"}), _TABLE_WALL)),
    "Tr": (frozenset({"Tr"}), _TABLE_WALL),
    **dict.fromkeys(("Tbody", "Thead", "Tfoot"), (frozenset({"Tbody", "Thead", "Tfoot"}), _TABLE_WALL)),
    **dict.fromkeys(("Body", "Main"), (_HEAD, _TABLE_WALL)),
    "A": (frozenset({"A"}), BLOCKS),  # a link inside a link is a link that was not closed
}


def _tag_end(page: bytes, at: int) -> int:
    """The '>' that ends a tag, quotes respected; the end of the page where there is none."""
    value = False  # a quote opens only after '='
    while match := _MARK.search(page, at):
        sign, at = match[0], match.end()
        if sign == b">":
            return match.start()
        if sign == b"=":
            value = True
        elif sign in (b'"', b"'") and value:
            at = page.find(sign, at) + 1 or len(page) + 1
            value = False
        else:
            value = False
    return len(page)


def _ends_itself(page: bytes, after: int, close: int) -> bool:
    """A slash right after a value without quotes belongs to the value: <a href=there/>"""
    slash = close - 1
    if slash <= after or is_space(page[slash - 1]) or page[slash - 1] in b"\"'":
        return True
    begin = slash
    while begin > after and not is_space(page[begin - 1]):
        begin -= 1
    return page.find(b"=", begin, slash) < 0


class _Builder:
    """Reads one page and builds its tree."""

    def __init__(self, page: bytes, deadline: float) -> None:
        self.page, self.at, self.end = page, 0, len(page)
        self.deadline = time.thread_time() + _SLOWER * deadline
        self.tree = Tree()
        self.stack: list[int] = []
        self.open: Counter[str] = Counter()
        self.xhtml = page.lstrip(b" \t\r\n").startswith(b"<?xml")
        self.add("Root", 0, 0)
        self.stack.append(0)

    def build(self) -> Tree:
        count = 0
        while self.at < self.end and not self.tree.late:
            start = self.find(b"<", self.at)
            if start > self.at:
                self.text(self.at, start)
            self.at = start
            if self.at < self.end:
                self.markup()
            count += 1
            if count % _CLOCK_EVERY == 0 and time.thread_time() > self.deadline:
                self.tree.late = True
        while self.stack:
            self.pop()
        return self.tree

    def find(self, mark: bytes, at: int) -> int:
        place = self.page.find(mark, at)
        return self.end if place < 0 else place

    def add(self, tag: str, start: int, length: int) -> int:
        number = len(self.tree.nodes)
        parent = self.stack[-1] if self.stack else -1
        self.tree.nodes.append(Node(tag, self.page, start, length, parent, number))
        return number

    def text(self, begin: int, to: int) -> None:
        last = self.tree.nodes[-1]
        if last.tag == "Text" and last.start + last.length == begin and last.parent == self.stack[-1]:
            last.length += to - begin  # a stray `<` is text like what stands before it
        else:
            self.add("Text", begin, to - begin)

    def pop(self) -> None:
        node = self.tree.nodes[self.stack.pop()]
        node.end = len(self.tree.nodes)
        self.open[node.tag] -= 1

    def pop_to(self, depth: int) -> None:
        while len(self.stack) > depth:
            self.pop()

    def markup(self) -> None:
        if self.end - self.at < 2:
            self.text(self.at, self.end)
            self.at = self.end
        elif is_alpha(self.page[self.at + 1]):
            self.start_tag()
        elif self.page[self.at + 1] == 0x2F:
            self.end_tag()
        elif self.page[self.at + 1] in b"!?":
            self.skip_declaration()
        else:
            self.text(self.at, self.at + 1)
            self.at += 1

    def skip_declaration(self) -> None:
        page, at = self.page, self.at
        if page.startswith(b"<!--", at):
            self.at = at + 5 if page.startswith(b">", at + 4) else min(self.end, self.find(b"-->", at + 2) + 3)
        elif page.startswith(b"<![CDATA[", at):
            to = self.find(b"]]>", at + 9)
            self.text(at + 9, to)
            self.at = min(self.end, to + 3)
        else:
            self.at = min(self.end, self.find(b">", at) + 1)

    def start_tag(self) -> None:
        page, name_at = self.page, self.at + 1
        after = _before(_NAME_END, page, name_at)
        close = _tag_end(page, after)
        if close == self.end:  # a tag that never ends is dropped with all that follows, as browsers do
            self.at = self.end
            return
        name = page[name_at:after].lower()
        tag = _NAMES.get(name, "Other")
        closed = close > after and page[close - 1] == 0x2F
        self.at = close + 1
        self.imply_ends(tag)
        if (tag in ("Html", "Body") and self.open[tag]) or tag == "Frameset":
            return
        number = self.add(tag, after, close - after)
        own = self.tree.nodes[number]
        if tag == "Body":
            self.tree.body = number
        elif tag == "Html":
            self.xhtml = self.xhtml or b"1999/xhtml" in attribute(own, b"xmlns")
        elif tag == "A":
            own.link = page.startswith(b" href=", after, close) or has_attribute(own, b"href")
        if tag in VOIDS:
            return
        foreign = self.open["Svg"] > 0 or self.open["Math"] > 0
        if closed and (tag == "Other" or foreign or (self.xhtml and _ends_itself(page, after, close))):
            return
        if tag == "Plaintext":
            self.at = self.end
            return
        if len(self.stack) >= _DEEPEST:
            own.broken = True
        else:
            self.stack.append(number)
            self.open[tag] += 1
        if tag in _RAW_TEXT:
            self.raw_text(name)

    def raw_text(self, name: bytes) -> None:
        begin = at = self.at
        while at < self.end:
            at = self.find(b"<", at)
            if at == self.end:
                break
            own = self.page[at : at + len(name) + 2]
            if len(own) == len(name) + 2 and own[1] == 0x2F and own[2:].lower() == name:
                if at > begin:
                    self.text(begin, at)
                self.at = at  # the end tag is read next
                return
            at += 1
        if self.end > begin:
            self.text(begin, self.end)
        self.at = self.end

    def end_tag(self) -> None:
        page, name_at = self.page, self.at + 2
        if name_at >= self.end or not is_alpha(page[name_at]):
            self.at = min(self.end, self.find(b">", self.at) + 1)
            return
        after = _before(_NAME_END, page, name_at)
        self.at = min(self.end, _tag_end(page, after) + 1)
        name = page[name_at:after].lower()
        tag = _NAMES.get(name, "Other")
        if tag == "Br" or (tag == "P" and not self.open["P"]):
            self.add(tag, after, 0)
        elif tag in ("Html", "Body"):
            return  # what follows still belongs to the page
        elif tag in HEADINGS:
            self.close_nearest(HEADINGS, _TABLE_WALL)
        elif tag == "Other":
            self.close_other(name)
        else:
            self.close_tag(tag)

    def close(self, judge: Callable[[Node], bool | None]) -> None:
        """Closes elements up to the innermost of which `judge` says so; none where it says no before."""
        for depth in range(len(self.stack) - 1, 0, -1):
            verdict = judge(self.tree.nodes[self.stack[depth]])
            if verdict is not None:
                if verdict:
                    self.pop_to(depth)
                return

    def close_tag(self, tag: str) -> None:
        if self.open[tag]:
            self.close(lambda node: True if node.tag == tag else False if _scope_wall(tag, node.tag) else None)

    def close_other(self, name: bytes) -> None:
        def judge(node: Node) -> bool | None:
            if node.tag == "Other" and node.start >= len(name):
                # The name stands right before the attributes.
                return True if self.page[node.start - len(name) : node.start].lower() == name else None
            return False if node.tag in BLOCKS else None

        if self.open["Other"]:
            self.close(judge)

    def close_nearest(self, ends: Sequence[str] | frozenset[str] | dict[str, int], wall: frozenset[str]) -> None:
        self.close(lambda node: True if node.tag in ends else False if node.tag in wall else None)

    def imply_ends(self, tag: str) -> None:
        if tag in _ENDS_PARAGRAPH and self.open["P"]:
            self.close_nearest(frozenset({"P"}), _PARAGRAPH_WALL)
        ends, wall = _IMPLIED.get(tag, (_HEAD if tag in BLOCKS else frozenset[str](), _TABLE_WALL))
        if any(self.open[open_tag] for open_tag in ends):
            self.close_nearest(ends, wall)


def _scope_wall(tag: str, open_tag: str) -> bool:
    """An inline end tag must not close the cell or the block it stands in."""
    if tag in ("Table", "Main", "Article", "Section", "Div", "Form"):
        return open_tag in ("Td", "Th") and tag != "Table"
    if tag in ("Tr", "Td", "Th", "Tbody", "Thead", "Tfoot"):
        return open_tag == "Table"
    if tag == "Li":
        return open_tag in ("Ul", "Ol", "Table")
    return open_tag in ("Td", "Th") if tag in BLOCKS else open_tag in BLOCKS


def parse_html(page: bytes, deadline: float) -> Tree:
    """The tree of a page. deadline: in seconds of this thread's work, for compiled kernels."""
    return _Builder(page.removeprefix(b"\xef\xbb\xbf"), deadline).build()


def _decode_one(raw: bytes, at: int) -> tuple[bytes, int]:
    """The reference that starts at the `&`, decoded, and how many bytes it took; 0 for none."""
    if number := _NUMBER.match(raw, at):
        digits, base = (number[1], 16) if number[1] else (number[2], 10)
        code = int(digits.lstrip(b"0")[:10] or b"0", base)
        code = _MEANT.get(code, code)
        if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            code = 0xFFFD
        return put_rune(code), number.end() - at
    if raw.startswith(b"#", at + 1):
        return b"", 0
    to = min(_end_of(_ENTITY, raw, at + 1), at + _LONGEST_ENTITY) - at
    if raw.startswith(b";", at + to) and (character := ENTITIES.get(raw[at + 1 : at + to + 1])) is not None:
        return character, to + 1
    for length in range(min(to, 7), 2, -1):  # &copy2024 still means a copyright sign
        if (character := ENTITIES.get(raw[at + 1 : at + length])) is not None:
            return character, length
    return b"", 0


def decode_entities(raw: bytes) -> bytes:
    """`raw` with its character references decoded."""
    at = raw.find(b"&")
    if at < 0:
        return raw
    parts, begin = [], 0
    while at >= 0:
        text, length = _decode_one(raw, at)
        parts += [raw[begin:at], text if length else b"&"]
        begin = at + (length or 1)
        at = raw.find(b"&", begin)
    return b"".join((*parts, raw[begin:]))
