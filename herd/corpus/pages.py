"""A page as it came, and batches of them as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as arrow

PAGE_BYTES = 20_000_000  # a longer page is no page
BATCH_BYTES = 16_000_000  # what a worker holds of raw pages at once
BATCH_PAGES = 2_000
_SOURCE_CHARACTERS = 200  # a longer one is no name of a source, and is kept for every page of it
_LONG_SOURCE = f"its source is longer than {_SOURCE_CHARACTERS} characters"


@dataclass(frozen=True)
class Page:
    """One page. body: its bytes. charset: what its server said. html: whether the text has to be extracted.
    fault: why it cannot be used; such a page is counted and has no body. notes: what else its row says, as JSON of
    bounded length."""

    id: str
    source: str
    body: bytes = b""
    url: str = ""
    added: str = ""
    charset: str = ""
    html: bool = True
    fault: str = ""
    notes: str = ""

    def with_fault(self, fault: str) -> Page:
        return replace(self, body=b"", fault=fault)

    def with_body(self, body: bytes, charset: str, *, html: bool) -> Page:
        return replace(self, body=body, charset=charset, html=html)


def batch_pages(pages: Iterable[Page]) -> Iterator[arrow.RecordBatch]:
    """The pages as record batches of bounded size, in their order."""
    pending: list[Page] = []
    size = 0
    for page in pages:
        if len(page.source) > _SOURCE_CHARACTERS:
            page = replace(page, source=page.source[:_SOURCE_CHARACTERS], body=b"", fault=_LONG_SOURCE)
        if pending and (size + len(page.body) + len(page.notes) > BATCH_BYTES or len(pending) >= BATCH_PAGES):
            yield _batch(pending)
            pending, size = [], 0
        pending.append(page)
        size += len(page.body) + len(page.notes)
    if pending:
        yield _batch(pending)


def _batch(pages: list[Page]) -> arrow.RecordBatch:
    import pyarrow as arrow

    columns = {
        "id": arrow.array([_text(page.id) for page in pages], arrow.string()),
        "source": arrow.array([_text(page.source) for page in pages], arrow.string()),
        "url": arrow.array([_text(page.url) for page in pages], arrow.string()),
        "added": arrow.array([_text(page.added) for page in pages], arrow.string()),
        "charset": arrow.array([_text(page.charset) for page in pages], arrow.string()),
        "html": arrow.array([page.html for page in pages], arrow.bool_()),
        "fault": arrow.array([_text(page.fault) for page in pages], arrow.string()),
        "notes": arrow.array([_text(page.notes) for page in pages], arrow.large_string()),
        "body": arrow.array([page.body for page in pages], arrow.large_binary()),
    }
    return arrow.record_batch(columns)


def _text(text: str) -> str:
    # A lone surrogate cannot be written as UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text
