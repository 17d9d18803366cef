"""Formulas that a page writes in TeX."""

from __future__ import annotations

from herd.corpus.plain.hints import MATH
from herd.corpus.plain.text import is_alpha

_DISPLAYED = ((b"$$", b"$$"), (b"\\[", b"\\]"))
_STYLES = ((b"{\\displaystyle", b"}"), (b"{\\textstyle", b"}"))


def looks_like_tex(text: bytes, hints: int) -> bool:
    """Whether a picture's description is a formula. hints: of the picture."""
    if hints & MATH or (len(text) > 1 and text.startswith(b"$") and text.endswith(b"$")):
        return True
    slash = text.find(b"\\")
    command = 0 <= slash < len(text) - 1 and (is_alpha(text[slash + 1]) or text[slash + 1] in b"([")
    return command and b"\\\\" not in text and b":\\" not in text


def _between(tex: bytes, opening: bytes, closing: bytes) -> bytes | None:
    if len(tex) < len(opening) + len(closing) or not (tex.startswith(opening) and tex.endswith(closing)):
        return None
    return tex[len(opening) : len(tex) - len(closing)].strip()


def _stripped(tex: bytes, *marks: tuple[bytes, bytes]) -> tuple[bytes, bool]:
    """Without the first of these pairs of marks that stands round it, and whether one did."""
    for opening, closing in marks:
        if (inside := _between(tex, opening, closing)) is not None:
            return inside, True
    return tex, False


def bare_formula(source: bytes, display: bool) -> tuple[bytes, bool]:
    """TeX without what marks it as such, and whether it stands on a line of its own."""
    tex, _ = _stripped(source.strip(), (b"<![CDATA[", b"]]>"))
    tex, _ = _stripped(tex, (b"% <![CDATA[", b"%]]>"))
    tex, displayed = _stripped(tex, *_DISPLAYED)
    tex, _ = _stripped(tex, (b"$", b"$"))
    tex, _ = _stripped(tex, (b"\\(", b"\\)"))
    tex, _ = _stripped(tex, *_STYLES)
    return tex, display or displayed
