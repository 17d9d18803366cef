"""The element that holds a page's content, what opens its text above it, and what goes inside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from herd.corpus.plain import hints as hint_flags
from herd.corpus.plain.html import BLOCKS, Tree
from herd.corpus.plain.outline import (
    NEVER_CONTENT,
    NOTHING,
    Outline,
    drop_by_name,
    find_answers,
    find_listings,
    look_at_names,
    weigh,
)
from herd.corpus.plain.parts import Mass
from herd.corpus.plain.tables import constant, int_constant, tags
from herd.corpus.plain.weight import count_letters

_FILE = "outline.cpp"
_HINT_SHARE, _MOST_SHARE = Mass(constant(_FILE, "kHintShare")), Mass(constant(_FILE, "kMostShare"))
_LEAST_PART = Mass(constant(_FILE, "kLeastPart"))
_LEAD_CLIMB, _LEAD_LETTERS, _ALIKE_CLIMB = (
    int_constant(_FILE, name) for name in ("kLeadClimb", "kLeadLetters", "kAlikeClimb")
)
_HOLDS_PARTS = tags(_FILE, "holds_parts")
_FEW_HUNDREDTHS, _SIX_TENTHS, _TENTH, _HALF = Mass(0.12), Mass(0.6), Mass(0.1), Mass(0.5)
_HOLDERS = frozenset("Ul Ol Div Section Table Dl P Span".split())
_DIGITS = b"0123456789"
_MOST_LEAD = 1500

NodePredicate = Callable[[int], bool]


def choose_content(page: Outline) -> int:
    """The number of the element that holds the content."""
    body = page.tree.body
    total = page.parts[body].mass
    if total <= 0:
        return body
    if page.answers:
        return _scope_of_answers(page, total)
    best = _largest(
        page, _FEW_HUNDREDTHS * total, lambda i: bool(page.parts[i].hints & hint_flags.BODY) and page.names_count(i)
    )
    best = best or _largest(page, _HINT_SHARE * total, lambda i: page.nodes[i].tag == "Article")
    best = best or _largest(page, _HINT_SHARE * total, lambda i: page.nodes[i].tag == "Main")
    return _narrow(page, best or body)


def _scope_of_answers(page: Outline, total: Mass) -> int:
    """What holds them all, and at least half of the page's text: a page may also answer questions below an article."""
    first, last = page.answers[0], page.answers[-1]
    scope = page.around or first
    while scope > page.tree.body and (
        scope > first or page.nodes[scope].end <= last or page.parts[scope].mass < _HALF * total
    ):
        scope = page.nodes[scope].parent
    return scope


def _matching_nodes(page: Outline, accepts: NodePredicate) -> list[int]:
    """Elements that are wanted; of those inside each other the outer one counts."""
    nodes, i = [], 0
    while (i := i + 1) < len(page.nodes):
        if not page.parts[i].dropped and accepts(i):
            nodes.append(i)
            i = page.nodes[i].end - 1
    return nodes


def _largest(page: Outline, least: Mass, accepts: NodePredicate) -> int:
    """The element with most text among those `accepts`; 0 when it holds too little, or is one of many alike."""
    best, total, candidates = 0, Mass(0), _matching_nodes(page, accepts)
    for i in candidates:
        if not best or page.parts[i].mass > page.parts[best].mass:
            best = i
        total += page.parts[i].mass
    if not best or page.parts[best].mass < least or page.parts[best].letters < 100:
        return 0
    if page.parts[best].mass < _SIX_TENTHS * total:
        return 0
    return _with_others_alike(page, best, candidates)


def _with_others_alike(page: Outline, best: int, candidates: list[int]) -> int:
    """The element that holds `best` and the others of its name: posts of a thread, of which one may be much the
    longest."""
    name = page.named(best)
    if not name:
        return best
    alike = [
        i
        for i in candidates
        if page.parts[i].mass >= _LEAST_PART
        and page.nodes[i].tag == page.nodes[best].tag
        and _are_alike(page.named(i), name)
    ]
    first, last = min((best, *alike)), max((best, *alike))
    scope, climbed = best, 0
    while scope > page.tree.body and (first < scope or last >= page.nodes[scope].end):
        if climbed == _ALIKE_CLIMB:
            return best
        scope = page.nodes[scope].parent
        climbed += 1
    return scope


def _narrow(page: Outline, i: int) -> int:
    whole_mass = page.parts[i].mass
    while True:
        child, k = 0, i + 1
        while k < page.nodes[i].end:
            if page.nodes[k].tag != "Text" and not page.parts[k].dropped:
                child = k if page.parts[k].mass >= _MOST_SHARE * whole_mass else child
            k = page.nodes[k].end
        if not child or page.nodes[child].tag not in _HOLDS_PARTS or _has_sibling_alike(page, i, child):
            return i
        i = child


def _are_alike(a: bytes, b: bytes) -> bool:
    """Whether two names differ in their numbers at most: `post bg1` and `post bg2`."""
    return a.translate(None, _DIGITS) == b.translate(None, _DIGITS)


def _has_sibling_alike(page: Outline, i: int, child: int) -> bool:
    """Whether another child of i is named like `child` and holds text: posts of a thread are so, short ones too."""
    name, k = page.named(child), i + 1
    while name and k < page.nodes[i].end:
        same = k != child and page.nodes[k].tag == page.nodes[child].tag and page.parts[k].mass >= _LEAST_PART
        if same and _are_alike(page.named(k), name):
            return True
        k = page.nodes[k].end
    return False


def find_leads(page: Outline) -> None:
    """What opens the text above the element that holds the rest."""
    nodes, scope = page.nodes, page.main
    for _ in range(_LEAD_CLIMB):
        if nodes[scope].parent <= page.tree.body or nodes[scope].tag in ("Article", "Main"):
            break
        scope = nodes[scope].parent
    i = scope
    while (i := i + 1) < page.main:
        if nodes[i].tag == "Text" or nodes[i].end > page.main:
            continue
        if nodes[i].tag in NEVER_CONTENT:
            i = nodes[i].end - 1
        elif _opens_text(page, i, scope):
            for k in range(i, nodes[i].end):
                page.parts[k].dropped = nodes[k].tag in NEVER_CONTENT
            page.leads.append(i)
            i = nodes[i].end - 1


def _is_named_lead(page: Outline, i: int, scope: int) -> bool | None:
    """Whether names or tags above say that it opens a text; None where they say that it does not."""
    named, k = False, i
    while k > scope:
        hints, above = page.parts[k].hints, page.nodes[k].tag
        if above in ("Footer", "Aside", "Form", "Figcaption", "Figure"):
            return None
        if hints & (hint_flags.CAPTION | hint_flags.COMMENT | hint_flags.HIDDEN) or (
            hints & hint_flags.AGAINST and not hints & hint_flags.LEAD
        ):
            return None
        named = named or bool(hints & hint_flags.LEAD) or (above == "Header" and page.nodes[i].tag == "P")
        k = page.nodes[k].parent
    return named


def _opens_text(page: Outline, i: int, scope: int) -> bool:
    tag = page.nodes[i].tag
    if tag not in ("P", "Div", "Span", "H2", "H3", "H4"):
        return False
    named = _is_named_lead(page, i, scope)
    if named is None or not (named or (tag in ("P", "Div") and page.nodes[scope].tag == "Article")):
        return False
    letters = marks = 0
    for node in page.nodes[i + 1 : page.nodes[i].end]:
        if node.link or (node.tag in BLOCKS and node.tag != "P"):
            return False
        if node.tag == "Text":
            own, sentence_marks = count_letters(node.raw)
            letters += own
            marks += sentence_marks
    if letters < _LEAD_LETTERS or letters > _MOST_LEAD or not marks:
        return False
    return named or letters >= 2 * _LEAD_LETTERS


def drop_inside(page: Outline) -> None:
    """Lists of links and the like inside the content."""
    nodes, parts, i = page.nodes, page.parts, page.main
    end = nodes[page.main].end
    while (i := i + 1) < end:
        own, part = nodes[i], parts[i]
        if own.tag == "Text" or part.dropped:
            continue
        linked = part.letters > 0 and 100 * part.linked > page.options.links_percent * part.letters
        place = i
        if own.tag == "Pre" or page.is_listing(i):
            i = own.end - 1
        if own.tag not in _HOLDERS or own.tag not in BLOCKS or not linked or page.holds_code(i):
            continue
        # After program text the node looked at is its last one, as in the C++.
        if parts[place].mass < _TENTH * parts[page.main].mass:
            page.drop(i)
            i = own.end - 1


def outline(tree: Tree, options: Any, strictness: int) -> Outline:
    """What of a page is its content. options: as `extract` gives them to the kernels."""
    page = Outline(tree, options, strictness)
    look_at_names(page)
    find_listings(page)
    weigh(page)
    if not options.main_only:
        page.main = tree.body
        return page
    find_answers(page)
    if strictness > NOTHING:
        drop_by_name(page)
        weigh(page)
    page.main = choose_content(page)
    find_leads(page)
    drop_inside(page)
    return page
