"""Where a page's content lies: which parts are dropped and which element holds the rest."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from herd.corpus.plain import hints as hint_flags
from herd.corpus.plain.html import BLOCKS, Node, Tree, attribute
from herd.corpus.plain.listing import is_listed_by_boxes, is_listed_by_rows
from herd.corpus.plain.parts import Mass, Part
from herd.corpus.plain.tables import constant, int_constant, tags
from herd.corpus.plain.weight import count_letters, mass_of

_FILE = "outline.cpp"
_SMALL_SHARE, _MOST_CAPTIONS = Mass(constant(_FILE, "kSmallShare")), Mass(constant(_FILE, "kMostCaptions"))
_LEAST_PART, _LONG_CAPTION = Mass(constant(_FILE, "kLeastPart")), int_constant(_FILE, "kLongCaption")
_MOST_AROUND = int_constant(_FILE, "kMostAround")
NEVER_CONTENT, _NAMES_SAY_NOTHING = tags(_FILE, "never_content"), tags(_FILE, "names_count")
NOTHING, COMMENTS, NAMES = range(3)  # how strict: what is dropped for the name its author gave it
_NO_PICTURE = frozenset("Table Blockquote Ul Ol Dl Math P".split())
_FRAMES = frozenset("Footer Header Aside Form Fieldset".split())
_CONTENT = hint_flags.BODY | hint_flags.CONTENT


class Outline:
    """What is found of a page on the way. programs: every <pre> and every listing, in order; listings: of those, the
    ones that are no <pre>; leads: elements before `main` that open its text; answers: parts that ask and answer."""

    def __init__(self, tree: Tree, options: Any, strictness: int) -> None:
        self.tree, self.nodes, self.options, self.strictness = tree, tree.nodes, options, strictness
        self.parts = [Part() for _ in tree.nodes]
        self.main = 0
        self.programs: list[int] = []
        self.listings: list[int] = []
        self.leads: list[int] = []
        self.answers: list[int] = []
        self.around = 0  # what holds a question that has no part of its own, and its answers
        self.seen_hints, self.seen_captions = 0, False
        self.maybe_listings: list[int] = []

    def drop(self, i: int) -> None:
        for part in self.parts[i : self.nodes[i].end]:
            part.dropped = True

    def is_listing(self, i: int) -> bool:
        return _holds(self.listings, i, i + 1)

    def holds_code(self, i: int) -> bool:
        """What frames a page rarely holds program text, and examples often stand in figures and boxes."""
        if self.nodes[i].tag in ("Footer", "Header") or self.parts[i].hints & hint_flags.COMMENT:
            return False
        return _holds(self.programs, i, self.nodes[i].end)

    def names_count(self, i: int) -> bool:
        """Names say nothing about elements that span the page, and little about program text."""
        return self.nodes[i].tag not in _NAMES_SAY_NOTHING

    def named(self, i: int) -> bytes:
        return attribute(self.nodes[i], b"class")


def _holds(places: list[int], begin: int, end: int) -> bool:
    at = bisect_left(places, begin)
    return at < len(places) and places[at] < end


# ---- names ----


def _is_tex_script(node: Node) -> bool:
    return node.tag == "Script" and attribute(node, b"type").startswith(b"math/tex")


def _is_gutter(page: Outline, i: int) -> bool:
    """Whether nothing but line numbers stands in an element that is named after them."""
    inside = page.nodes[i + 1 : page.nodes[i].end]
    return not any(node.raw.translate(None, b"0123456789 \t\n\v\f\r") for node in inside if node.tag == "Text")


def look_at_names(page: Outline) -> None:
    """The hints of every element, and what goes because of them; where program text and perhaps listings are."""
    nodes, parts, i, program_end = page.nodes, page.parts, -1, 0
    while (i := i + 1) < len(nodes):
        own, part = nodes[i], parts[i]
        if own.tag == "Text":
            continue
        if own.tag in NEVER_CONTENT and not _is_tex_script(own):
            page.drop(i)
            i = own.end - 1
            continue
        if own.length > 5:
            part.hints = hint_flags.hints_of(own)
        if own.tag == "Table" or (part.hints & hint_flags.CODE and own.tag in ("Div", "Td")):
            page.maybe_listings.append(i)
        # Inside program text names are those of its syntax: a `comment` there is the programmer's.
        if i < program_end:
            part.hints &= hint_flags.GUTTER
        if own.tag == "Pre":
            program_end = max(program_end, own.end)
            page.programs.append(i)
        hints = part.hints
        page.seen_hints |= hints
        page.seen_captions = page.seen_captions or own.tag == "Figcaption" or bool(hints & hint_flags.CAPTION)
        # Wikipedia hides the formula and shows a picture; KaTeX hides from readers' eyes what it draws.
        hidden = hints & hint_flags.HIDDEN and not hints & hint_flags.MATH and own.tag != "Math" and page.names_count(i)
        if (
            hints & hint_flags.DRAWN_MATH
            or (hints & hint_flags.GUTTER and _is_gutter(page, i))
            or (hidden and not hints & _CONTENT)
        ):
            page.drop(i)
        if part.dropped:
            i = own.end - 1


def find_listings(page: Outline) -> None:
    """Program text outside of <pre>. Names inside it are those of its syntax, as above."""
    nodes, parts, listings_end = page.nodes, page.parts, 0
    around: list[int] = []  # candidates that were none
    for i in page.maybe_listings:
        while around and nodes[around[-1]].end <= i:
            around.pop()
        before = bisect_left(page.programs, i)
        in_program = before > 0 and i < nodes[page.programs[before - 1]].end  # which is written whole
        if i < listings_end or parts[i].dropped or len(around) > _MOST_AROUND or in_program:
            continue
        listed = nodes[i].tag == "Table" and is_listed_by_rows(page.tree, parts, i)
        if not listed and parts[i].hints & hint_flags.CODE:
            listed = is_listed_by_boxes(page.tree, parts, i)
        if not listed:
            around.append(i)
            continue
        listings_end = nodes[i].end
        page.listings.append(i)
        for part in parts[i + 1 : nodes[i].end]:
            part.hints &= hint_flags.GUTTER
    page.programs = sorted(page.programs + page.listings)


def weigh(page: Outline) -> None:
    """Letters and mass of every element: its own runs of inline text, and what its children hold."""
    nodes, parts = page.nodes, page.parts
    for part in parts:
        part.letters, part.linked, part.mass = 0, 0, Mass(0)
    links_percent = page.options.links_percent
    link_end = block = letters = linked = marks = 0

    def close(following: int) -> None:
        nonlocal block, letters, linked, marks
        if letters:
            own = parts[block]
            own.letters += letters
            own.linked += linked
            own.mass += mass_of(nodes[block].tag, letters, linked, marks, links_percent)
        letters = linked = marks = 0
        block = following

    ends: list[int] = []
    i = -1
    while (i := i + 1) < len(nodes):
        while ends and nodes[ends[-1]].end <= i:
            close(nodes[ends.pop()].parent)
        if parts[i].dropped:
            i = nodes[i].end - 1
        elif nodes[i].tag == "Text":
            count, sentence_marks = count_letters(nodes[i].raw)
            letters += count
            marks += sentence_marks
            linked += count if i < link_end else 0
        elif nodes[i].tag in BLOCKS:
            close(i)
            ends.append(i)
        elif nodes[i].link:
            link_end = max(link_end, nodes[i].end)
    close(0)
    for i in range(len(nodes) - 1, 0, -1):
        above, own = parts[nodes[i].parent], parts[i]
        above.letters += own.letters
        above.linked += own.linked
        above.mass += own.mass


def _is_picture(page: Outline, i: int) -> bool:
    """A figure that holds a picture and a line or two about it, not a table, a quotation or what somebody wrote."""
    inside = {node.tag for node in page.nodes[i + 1 : page.nodes[i].end]}
    has_picture = bool(inside & {"Img", "Video", "Picture"})
    return has_picture and not inside & _NO_PICTURE and page.parts[i].letters < _LONG_CAPTION


def _share_of_captions(page: Outline) -> Mass:
    """Of the page's running text, how much stands below pictures: in a gallery it is the article."""
    captions, i = Mass(0), 0
    while page.seen_captions and (i := i + 1) < len(page.nodes):
        part = page.parts[i]
        if page.nodes[i].tag == "Text" or part.dropped:
            continue
        if page.nodes[i].tag == "Figcaption" or part.hints & hint_flags.CAPTION:
            captions += part.mass
            i = page.nodes[i].end - 1
    return captions / max(page.parts[0].mass, Mass(1))


def drop_by_name(page: Outline) -> None:
    """Drops what its tag or name says to stand round the content, where it holds little of the page's text."""
    nodes, total = page.nodes, page.parts[0].mass
    captioned = _share_of_captions(page) > _MOST_CAPTIONS
    thread_end, i = 0, 0
    while (i := i + 1) < len(nodes):
        own, part = nodes[i], page.parts[i]
        if own.tag == "Text":
            continue
        if part.dropped or own.tag == "Pre" or page.is_listing(i):
            i = own.end - 1
            continue
        if not page.names_count(i):
            continue
        hints = part.hints
        if hints & hint_flags.THREAD:
            thread_end = own.end
        if i < thread_end:
            hints &= ~hint_flags.COMMENT
        if captioned:
            hints &= ~hint_flags.CAPTION
        small = part.mass < _SMALL_SHARE * total or total == 0
        if page.strictness == COMMENTS and own.tag != "Footer" and not hints & hint_flags.COMMENT:
            continue
        # A page's whole content may stand in a form, or in a part whose name holds `menu` by chance.
        against = small and _is_against(page, i, hints, bool(captioned))
        if against and not page.holds_code(i) and not _holds(page.answers, i, own.end):
            page.drop(i)
            i = own.end - 1


def _is_against(page: Outline, i: int, hints: int, captioned: bool) -> bool:
    tag = page.nodes[i].tag
    if tag in _FRAMES or (not captioned and (tag == "Figcaption" or (tag == "Figure" and _is_picture(page, i)))):
        return True
    if hints & hint_flags.COMMENT and tag != "Article" and not hints & _CONTENT:
        return True
    return bool(hints & (hint_flags.AGAINST | hint_flags.CAPTION)) and not hints & (_CONTENT | hint_flags.CODE)


# ---- a question and its answers ----


def find_answers(page: Outline) -> None:
    """The parts of a page that ask and answer; none where it does not do both."""
    seen_hints, nodes, parts = page.seen_hints, page.nodes, page.parts
    if not (seen_hints & hint_flags.ANSWER or (seen_hints & hint_flags.THREAD and seen_hints & hint_flags.COMMENT)):
        return
    has_question = has_answer = False
    thread_end, i = 0, page.tree.body
    while (i := i + 1) < len(nodes):
        own = parts[i].hints & (hint_flags.QUESTION | hint_flags.ANSWER)
        if parts[i].hints & hint_flags.THREAD:
            page.around, thread_end = i, nodes[i].end
        if i < thread_end and parts[i].hints & hint_flags.COMMENT:
            own |= hint_flags.ANSWER
        if parts[i].dropped:
            i = nodes[i].end - 1
        elif own and nodes[i].tag in BLOCKS and page.names_count(i) and parts[i].mass >= _LEAST_PART:
            if own & hint_flags.QUESTION and _holds_answer(page, i):  # all of the page is named after its question
                page.around = i
                continue
            page.answers.append(i)
            if own & hint_flags.ANSWER:
                has_answer = True
            else:
                has_question = True
            i = nodes[i].end - 1
    if has_answer and not has_question and not page.around:
        has_question = _add_unnamed_question(page)
    if has_question:
        page.around = 0  # the question has a part of its own
    if not has_answer or not (has_question or page.around):
        page.answers.clear()


def _add_unnamed_question(page: Outline) -> bool:
    """A question that is only named as the page's text, above answers that are named as such."""
    first = k = page.answers[0]
    while k > page.tree.body:
        if page.parts[k].hints & hint_flags.COMMENT:
            return False
        k = page.nodes[k].parent
    for i in range(page.tree.body + 1, first):
        part = page.parts[i]
        if (
            not part.dropped
            and part.hints & hint_flags.BODY
            and page.nodes[i].end <= first
            and part.mass >= _LEAST_PART
        ):
            page.answers.insert(0, i)
            return True
    return False


def _holds_answer(page: Outline, i: int) -> bool:
    return any(
        page.parts[k].hints & hint_flags.ANSWER and page.parts[k].mass >= _LEAST_PART and page.nodes[k].tag in BLOCKS
        for k in range(i + 1, page.nodes[i].end)
    )
