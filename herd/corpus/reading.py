"""Raw files as pages: WARC, WET, ARC, HTML, JSON, Parquet, Arrow, Markdown, TeX and plain text, packed or not.

A file is a path or any address fsspec knows (s3://, gs://, https://, memory://).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from herd.core.addresses import open_source_file, size_of
from herd.core.errors import DataError
from herd.corpus.arrow_rows import ArrowRows
from herd.corpus.columns import AS_ROWS_SAY, TextColumns
from herd.corpus.members import WHOLE_FILE, Span
from herd.corpus.pages import PAGE_BYTES, Page
from herd.corpus.row_groups import ParquetRows
from herd.corpus.tables import json_pages
from herd.corpus.unpacking import MAGIC, DecompressedStream
from herd.corpus.warc import read_archive, read_unpacked


@dataclass(frozen=True)
class FileSpan:
    """A file, or the records of it that start in `span`. columns: what holds what, where it is a table."""

    file: str
    source: str
    span: Span = WHOLE_FILE
    columns: TextColumns = AS_ROWS_SAY

    @property
    def name(self) -> str:
        return self.file.rpartition("/")[2]


def read_pages(span: FileSpan) -> Iterator[Page]:
    """The pages of a file, read by its ending; pages that cannot be used have a fault.

    Raises DataError for an ending nobody reads and a missing file; and for one that breaks off, after the pages that
    can be used.
    """
    kind, codec = ending_of(span.file)
    if kind not in READERS:
        raise DataError(f"{printable(span.file)}: no reader for this ending; herd reads {READABLE}")
    with open_source_file(span.file) as raw:
        stream = DecompressedStream(raw, codec) if codec else raw
        pages = READERS[kind](span, stream, bool(codec))
        count = 0
        for page in pages:
            count += 1
            yield page
    if fault := getattr(pages, "fault", "") or getattr(stream, "fault", ""):
        raise DataError(
            f"{printable(span.file)}: {fault}; what {count:,} rows or pages of it say is used, the rest is not"
        )


def ending_of(file: str) -> tuple[str, str]:
    """What kind of file it is, and what it is packed by: both as endings in small letters, empty where unknown."""
    name = file.rpartition("/")[2].lower()
    codec = next((suffix for suffix in MAGIC if name.endswith(suffix)), "")
    name = name.removesuffix(codec)
    kind = next((suffix for suffix in READERS if name.endswith(suffix)), "")
    if kind in (".warc", ".wet", ".arc") and codec == ".gz":
        return kind, ""  # archives are packed record by record, which their own reader undoes
    return ("", "") if kind == ".parquet" and codec else (kind, codec)


def is_readable(file: str) -> bool:
    return bool(ending_of(file)[0])


def printable(file: str) -> str:
    # Names may hold bytes that are no UTF-8, which no message can.
    return file.encode("utf-8", "replace").decode("utf-8")


def split_file(file: FileSpan, part_bytes: int) -> list[FileSpan]:
    """The file as parts of about so many bytes that several workers can read; together they read every record
    once. Only compressed archives are cut: each worker looks for the first record of its part."""
    if ending_of(file.file)[0] not in (".warc", ".wet", ".arc") or not file.file.lower().endswith(".gz"):
        return [file]
    size = size_of(file.file)
    count = max(1, round(size / part_bytes))
    cuts = [size * number // count for number in range(count)]
    ends = [*cuts[1:], 1 << 62]
    return [replace(file, span=Span(start, end)) for start, end in zip(cuts, ends, strict=True)]


# ---- readers ----


def _read_archive(span: FileSpan, stream: Any, packed: bool) -> Iterator[Page]:
    if packed:
        return read_unpacked(stream, span.name, span.source)
    return read_archive(stream, span.name, span.source, span.span)


def _read_json_lines(span: FileSpan, stream: Any, packed: bool) -> Iterator[Page]:
    return json_pages(stream, span.name, span.source, span.columns, lines=True)


def _read_json(span: FileSpan, stream: Any, packed: bool) -> Iterator[Page]:
    return json_pages(stream, span.name, span.source, span.columns, lines=False)


def _read_parquet(span: FileSpan, stream: Any, packed: bool) -> Iterable[Page]:
    return ParquetRows(stream, size_of(span.file), span.name, span.source, span.columns)


def _read_arrow(span: FileSpan, stream: Any, packed: bool) -> Iterable[Page]:
    return ArrowRows(stream, size_of(span.file), span.name, span.source, span.columns)


def _read_page(span: FileSpan, stream: Any, *, html: bool) -> Iterator[Page]:
    """The file as one page."""
    url = Path(span.file).resolve().as_uri() if "://" not in span.file else span.file
    page = Page(span.file, span.source, url=url)
    body = bytearray()
    while len(body) <= PAGE_BYTES and (data := stream.read(PAGE_BYTES + 1 - len(body))):
        body += data
    yield (
        page.with_body(bytes(body), "", html=html)
        if len(body) <= PAGE_BYTES
        else page.with_fault(f"longer than {PAGE_BYTES:,} bytes")
    )


def _read_html(span: FileSpan, stream: Any, packed: bool) -> Iterator[Page]:
    return _read_page(span, stream, html=True)


def _read_text(span: FileSpan, stream: Any, packed: bool) -> Iterator[Page]:
    return _read_page(span, stream, html=False)


PageReader = Callable[[FileSpan, Any, bool], Iterable[Page]]
READERS: dict[str, PageReader] = {
    ".warc": _read_archive,
    ".wet": _read_archive,
    ".arc": _read_archive,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".html": _read_html,
    ".htm": _read_html,
    ".xhtml": _read_html,
    ".shtml": _read_html,
    ".md": _read_text,
    ".txt": _read_text,
    ".tex": _read_text,
    ".rst": _read_text,
}
TEXT_ENDINGS = frozenset(kind for kind, reader in READERS.items() if reader is _read_text)  # one page a file
READABLE = f"{', '.join(READERS)}, all but .parquet also packed as {', '.join(MAGIC)}"
