"""What the names that a page's author gave to its parts (class, id, role, itemprop) say about them."""

from __future__ import annotations

import re
from functools import lru_cache

from herd.corpus.plain.html import Node, attributes
from herd.corpus.plain.tables import pairs, values

HINTS = values("hints.hpp", "Hint")
BODY, CONTENT, AGAINST, COMMENT = (HINTS[f"{name}Hint"] for name in ("Body", "Content", "Against", "Comment"))
HIDDEN, MATH, DRAWN_MATH, CODE = (HINTS[f"{name}Hint"] for name in ("Hidden", "Math", "DrawnMath", "Code"))
GUTTER, LEAD, QUESTION, ANSWER = (HINTS[f"{name}Hint"] for name in ("Gutter", "Lead", "Question", "Answer"))
THREAD, CAPTION = HINTS["ThreadHint"], HINTS["CaptionHint"]

_EDGES = re.compile(r"[ \t\n\r\f|]+")
_SPACES = re.compile(rb"[ \t-\r]")
_TYPES = {b"discussionforumposting": THREAD, b"question": QUESTION, b"answer": ANSWER}


def _hint_patterns() -> dict[str, re.Pattern[str]]:
    """Of each hint a pattern that finds any of its words."""
    words: dict[str, list[str]] = {}
    for word, hint in pairs("hints.cpp", "kWords"):
        words.setdefault(hint, []).append(re.escape(word.decode()))
    return {hint: re.compile("|".join(alternatives)) for hint, alternatives in words.items()}


_WORDS = _hint_patterns()


@lru_cache(1 << 14)
def _hints_in(value: bytes) -> int:
    """Of the words in an attribute's value, letter case aside; `_` counts as `-`, and `|` stands at their edges."""
    name = _EDGES.sub("|", f"|{value.decode('latin-1')}|".translate(_LETTERS))
    return sum(HINTS[hint] for hint, words in _WORDS.items() if words.search(name))


_LETTERS = {code: "?" for code in range(256) if chr(code) not in " \t\n\r\f|-"}
_LETTERS |= (
    {code: chr(code) for code in range(97, 123)} | {code: chr(code + 32) for code in range(65, 91)} | {0x5F: "-"}
)


def hints_of(node: Node) -> int:
    """The hints of an element's attributes."""
    hints = 0
    for attribute_name, value in attributes(node.raw):
        name = attribute_name.lower()
        if name in (b"class", b"id", b"itemprop", b"role"):
            hints |= _hints_in(value)
        elif name == b"itemtype":
            hints |= _TYPES.get(value.rsplit(b"/", 1)[-1].lower(), 0)
        elif name == b"hidden" or (name == b"aria-hidden" and value.lower() == b"true"):
            hints |= HIDDEN
        elif name == b"style":
            bare = _SPACES.sub(b"", value).lower()
            hints |= HIDDEN * (b"display:none" in bare or b"visibility:hidden" in bare)
    return hints
