"""The main text of HTML pages."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from herd.core.settings import NonNegativeInt, PositiveFloat, Share, settings
from herd.corpus.encodings import decode
from herd.corpus.kernels import KernelResult, PackedTexts, pack_texts

if TYPE_CHECKING:
    import pyarrow as arrow

OUTCOMES = ("", "no text on the page", "its text was not found within the time a page is given")
_DECLARATION = b"<?xml version='1.0'?>"
_ALT_TEXT = ("never", "formulas", "all")


@settings
class Profile:
    """How strictly blocks are judged. max_link_density: a block with a larger share of its letters inside links is no
    content. short_block_letters: neither is one of fewer letters that ends no sentence."""

    max_link_density: Share = 0.5
    short_block_letters: NonNegativeInt = 0


@settings
class ExtractSettings:
    """How text is taken from pages.

    output_format: Markdown keeps its markers; plain text is what the report found better for a model of mostly web
    text. alt_text: whose pictures' descriptions are kept; formulas are often drawn, with their TeX as the
    description. main_only: off keeps all that a page shows. code, mathematics: for pages of which at least
    code_share is program text, or that hold at least formulas formulas. timeout_seconds: of processor time, for a page.
    Source: Llama 3, 3.1.1, which says what is kept and not how; the numbers are ours.
    """

    output_format: Literal["plain", "markdown"] = "plain"
    alt_text: Literal["never", "formulas", "all"] = "formulas"
    main_only: bool = True
    article: Profile = Profile()
    code: Profile = Profile(max_link_density=0.8)
    mathematics: Profile = Profile(max_link_density=0.6)
    code_share: Share = 0.2
    formulas: NonNegativeInt = 3
    timeout_seconds: PositiveFloat = 5.0


@dataclass(frozen=True)
class Extracts:
    """What was found on pages, an entry each. outcome: an index into OUTCOMES. language: what the page says
    of itself. code, formulas, letters: letters of program text, formulas, and all letters."""

    text: arrow.LargeStringArray
    title: arrow.LargeStringArray
    language: arrow.LargeStringArray
    outcome: NDArray[np.int32]
    code: NDArray[np.int32]
    formulas: NDArray[np.int32]
    letters: NDArray[np.int32]


class _Options(ctypes.Structure):
    """As the kernels take them."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("markdown", "alt_text", "main_only", "links_percent", "short_block")),
        ("deadline_seconds", ctypes.c_double),
    )


def extract(pages: PackedTexts | arrow.Array | Sequence[str | bytes], settings: ExtractSettings) -> Extracts:
    """The main content of HTML pages in UTF-8, as text.

    Navigation, footers, comments and the like are left out; program text keeps its lines and indents,
    formulas are written once as TeX between dollars, tables a row a line with tabs.
    """
    packed = pages if isinstance(pages, PackedTexts) else pack_texts(pages)
    extracts = _extract(packed, settings, settings.article)
    is_code = extracts.code > settings.code_share * extracts.letters
    is_mathematics = ~is_code & (extracts.formulas >= max(1, settings.formulas))
    for mask, profile in ((is_code, settings.code), (is_mathematics, settings.mathematics)):
        if profile != settings.article and mask.any():
            extracts = _replace_rows(extracts, mask, _extract(packed.select(mask), settings, profile))
    return extracts


def mark_xhtml(body: bytes, *names: str) -> bytes:
    """The page with an XML declaration where only its name says that it is XHTML, in which `<a/>` is empty."""
    is_xhtml = any(name.split("?")[0].split("#")[0].lower().endswith((".xhtml", ".xht")) for name in names)
    return _DECLARATION + body.removeprefix(b"\xef\xbb\xbf") if is_xhtml and not body.startswith(b"<?xml") else body


def _extract(pages: PackedTexts, settings: ExtractSettings, profile: Profile) -> Extracts:
    options = _Options(
        settings.output_format == "markdown",
        _ALT_TEXT.index(settings.alt_text),
        settings.main_only,
        round(100 * profile.max_link_density),
        profile.short_block_letters,
        settings.timeout_seconds,
    )
    with KernelResult("herd_extract", pages, ctypes.byref(options)) as result:
        return Extracts(
            *(result.texts(column) for column in range(3)), *(result.numbers(column) for column in range(4))
        )


def _replace_rows(extracts: Extracts, mask: NDArray[np.bool_], replacements: Extracts) -> Extracts:
    """`extracts` with the entries of `replacements` where `mask`."""
    import pyarrow as arrow

    order = np.arange(len(mask))
    order[mask] = len(mask) + np.arange(int(mask.sum()))
    columns = []
    for name in Extracts.__dataclass_fields__:
        old, new = getattr(extracts, name), getattr(replacements, name)
        if isinstance(old, np.ndarray):
            columns.append(np.concatenate([old, new])[order])
        else:
            columns.append(arrow.chunked_array([old, new]).combine_chunks().take(arrow.array(order)))
    return Extracts(*columns)


def extract_files(files: Sequence[str], settings: ExtractSettings) -> Iterator[dict[str, object]]:
    """A row for every page: file, id (where the file holds several), text, title, language, seconds; or fault."""
    from herd.corpus.language import detect_languages
    from herd.corpus.reading import FileSpan, read_pages

    for file in files:
        for page in read_pages(FileSpan(file, "pages")):
            started = time.process_time()
            row: dict[str, object] = {"file": file, "id": page.id} if page.id != file else {"file": file}
            body = None if page.fault else decode(page.body, page.charset)
            if body and page.html:
                body = mark_xhtml(body, page.id, page.url)
            if body is None:
                yield row | {"fault": page.fault or "its bytes are text in no encoding that was tried"}
                continue
            extracts = extract([body], settings) if page.html else None
            text = extracts.text[0].as_py() if extracts else body.decode("utf-8").replace("\x00", "")
            row |= {"text": text, "title": extracts.title[0].as_py() if extracts else ""}
            row["language"] = str(detect_languages([text]).codes[0])
            row["seconds"] = round(time.process_time() - started, 5)
            outcome = OUTCOMES[extracts.outcome[0]] if extracts else ""
            yield row | ({"fault": outcome} if outcome else {})


# ---- Markdown to plain text ----

# None of these looks again at what another start has looked at: a page of nothing but brackets or stars takes no longer
# than one of words.
_FENCE = re.compile(r"^[ \t]*(?:```|~~~).*$", re.MULTILINE)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]++(.*)$", re.MULTILINE)
_TARGET = r"\([^)\]\n]*+(?:\](?!\()[^)\]\n]*+)*+\)"
_MARKERS = (
    (re.compile(r"^ {0,3}(?:[-*_] *+){3,}+$", re.MULTILINE), ""),  # rules
    (re.compile(r"^ {0,3}> ?", re.MULTILINE), ""),  # quotes
    (re.compile(r"^([ \t]*+)[*+-][ \t]++(?:\[[ xX]\]\s++)?", re.MULTILINE), r"\1"),  # lists
    (re.compile(r"!\[([^\[\]\n]*+)\]" + _TARGET), r"\1"),  # pictures
    (re.compile(r"\[([^\[\]\n]++)\]" + _TARGET), r"\1"),  # links
    (re.compile(r"(\*\*|__)(?=\S)(.{1,500}?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])([*_])(?=\S)([^*_\n]++)(?<=\S)\1(?![\w*])"), r"\2"),
    (re.compile(r"(?<!`)`([^`\n]++)`(?!`)"), r"\1"),
)


def _heading(match: re.Match[str]) -> str:
    return match[1].rstrip(" \t").rstrip("#").rstrip(" \t")


def strip_markers(text: str) -> str:
    """Markdown as plain text; what stands between code fences stays as it is. Source: Llama 3, 3.1.1."""
    parts = _FENCE.split(text)
    for number in range(0, len(parts), 2):
        parts[number] = _HEADING.sub(_heading, parts[number])
        for marker, plain in _MARKERS:
            parts[number] = marker.sub(plain, parts[number])
    return "".join(part.strip("\n") + "\n\n" for part in parts).strip()
