"""The main text of an HTML page."""

from __future__ import annotations

import re

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import detect_encoding
from resiliparse.parse.html import HTMLTree

# What stands round a page's text and is not part of it.
BOILERPLATE = ("nav", "header", "footer", "aside", "[role=navigation]", "[role=banner]", "[role=contentinfo]")
_BLANK_LINES = re.compile(r"\n[ \t]*\n\s*\n+")


def decode(body: bytes, charset: str = "") -> str | None:
    """The page as text, or None when no guess about its encoding fits.

    Tried in turn, as browsers do: what the server said, what the page says of itself, and what its bytes
    look like.
    """
    guesses = (charset, _declared(body), detect_encoding(body) or "")
    for guess in dict.fromkeys(("utf-8-sig", *guesses)):
        try:
            text = body.decode(guess) if guess else ""
        except (UnicodeDecodeError, LookupError):
            continue
        # Binary data decodes as Latin-1 too, into control characters.
        if text and sum(text.count(chr(n)) for n in range(9)) <= len(text) // 1000:
            return text
    return None


def _declared(body: bytes) -> str:
    found = re.search(rb"<meta[^>]{0,200}?charset=[\"']?([\w-]+)", body[:2048], re.IGNORECASE)
    return found[1].decode("ascii") if found else ""


def main_text(html: str) -> str:
    """The page's main content as plain text; preformatted text keeps its lines and indents.

    Differs: the report wrote its own parser; this is resiliparse's main-content heuristic, as DCLM used it.
    """
    tree = HTMLTree.parse(html)
    text = extract_plain_text(tree, main_content=True, alt_texts=True, skip_elements=BOILERPLATE)
    return _BLANK_LINES.sub("\n\n", text.replace("\xa0", " ")).strip()
