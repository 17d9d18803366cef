"""Raw files as pages: WARC, WET, ARC, HTML, JSON lines, Parquet, Markdown and plain text.

A file is a path or any address fsspec knows (s3://, gs://, https://, memory://).
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from herd.core.errors import DataError, HerdError
from herd.corpus.pages import PAGE_BYTES, Page
from herd.corpus.warc import WHOLE, Span, read_archive

_LINE_BYTES = PAGE_BYTES + (1 << 16)
_LINE_CHUNK = 1 << 20


@dataclass(frozen=True)
class Part:
    """A file, or the records of it that start in `span`."""

    file: str
    source: str
    span: Span = WHOLE


def read_pages(part: Part) -> Iterator[Page]:
    """The pages of a file, read by its ending; pages that cannot be used have a fault.

    Raises DataError for an ending nobody reads, a missing file, and a table or stream that breaks off.
    """
    reader = _reader(part.file)
    if reader is None:
        raise DataError(f"{part.file}: no reader for this ending; herd reads {', '.join(READERS)}")
    yield from reader(part)


def _reader(file: str) -> Callable[[Part], Iterator[Page]] | None:
    name = file.rpartition("/")[2].lower()
    return next((READERS[ending] for ending in READERS if name.endswith(ending)), None)


def is_readable(file: str) -> bool:
    return _reader(file) is not None


def parts_of(file: str, source: str, part_bytes: int) -> list[Part]:
    """The file as parts of about so many bytes that several workers can read; together they read every record
    once. Only compressed archives are cut: each worker looks for the first record of its part."""
    name = file.lower()
    if not name.endswith((".warc.gz", ".wet.gz", ".arc.gz")):
        return [Part(file, source)]
    size = size_of(file)
    count = max(1, round(size / part_bytes))
    cuts = [size * number // count for number in range(count)]
    ends = [*cuts[1:], 1 << 62]
    return [Part(file, source, Span(start, end)) for start, end in zip(cuts, ends, strict=True)]


def size_of(file: str) -> int:
    """Bytes of a file. Raises DataError when there is none."""
    try:
        return os.stat(file).st_size if "://" not in file else int(_filesystem(file).size(file))
    except (OSError, TypeError):
        raise DataError(f"{file}: there is no such file; it was moved or deleted since the run was planned") from None


def found_at(address: str) -> list[str]:
    """The files at an address, which may be a folder or hold a pattern."""
    system = _filesystem(address)
    scheme = address.partition("://")[0]
    if any(mark in address for mark in "*?["):
        names = system.glob(address)
    else:
        names = system.find(address) if system.isdir(address) else [address] if system.exists(address) else []
    return [name if "://" in name else f"{scheme}://{name.lstrip('/')}" for name in names]


def checksum(address: str) -> str:
    """What the service says of a file: its own checksum where it keeps one, else size and time."""
    details = _filesystem(address).info(address)
    for name in ("ETag", "etag", "md5Hash", "crc32c", "checksum"):
        if details.get(name):
            return f"{name} {details[name]}"
    return f"{details.get('size')} {details.get('LastModified') or details.get('mtime') or details.get('created')}"


def open_file(file: str) -> BinaryIO:
    """The file's bytes. Raises DataError when there is none."""
    if "://" in file:
        size_of(file)
        return _filesystem(file).open(file, "rb")
    try:
        return open(file, "rb")
    except OSError as fault:
        raise DataError(f"{file}: cannot be opened ({fault.strerror}); check that it is still there") from None


def _filesystem(file: str) -> Any:
    try:
        import fsspec
    except ImportError:
        raise HerdError(f"{file}: addresses need fsspec; `pip install fsspec` and the package of its service") from None
    try:
        return fsspec.core.url_to_fs(file)[0]
    except (ImportError, ValueError) as fault:
        raise DataError(
            f"{file}: {fault}; install the package for this kind of address or check its spelling"
        ) from None


def _broken(part: Part, what: str) -> str:
    return f"{part.file}: {what}; fetch the file again, or set broken_files to keep to use what comes before"


# ---- archives ----


def _read_archive(part: Part) -> Iterator[Page]:
    with open_file(part.file) as stream:
        yield from read_archive(stream, part.file.rpartition("/")[2], part.source, part.span)


# ---- tables ----


def _read_jsonl(part: Part) -> Iterator[Page]:
    name = part.file.rpartition("/")[2]
    with open_file(part.file) as raw, _inflating(part.file, raw) as stream:
        try:
            for number, line in enumerate(_lines(stream), 1):
                if line is None:
                    yield Page(f"{name}:{number}", part.source, fault=f"longer than {_LINE_BYTES:,} bytes")
                elif line.strip():
                    yield _json_page(line, f"{name}:{number}", part.source)
        except (EOFError, OSError, zlib.error, _zstd_error()) as fault:
            raise DataError(_broken(part, f"breaks off ({fault})")) from None


def _inflating(file: str, raw: BinaryIO) -> Any:
    if file.endswith(".gz"):
        return gzip.GzipFile(fileobj=raw)
    if file.endswith(".zst"):
        import pyarrow as arrow

        return arrow.CompressedInputStream(arrow.PythonFile(raw, "r"), "zstd")
    return raw


def _zstd_error() -> type[Exception]:
    import pyarrow as arrow

    return arrow.ArrowException


def _lines(stream: Any) -> Iterator[bytes | None]:
    """Lines of bounded length; None for one that is longer, whose bytes are passed over."""
    held, passing = b"", False
    while True:
        data = stream.read(_LINE_CHUNK)
        *whole, held = (held + data).split(b"\n")
        for line in whole:
            yield None if passing else line
            passing = False
        if len(held) > _LINE_BYTES:
            held, passing = b"", True
        if not data:
            break
    if passing or held:
        yield None if passing else held


def _json_page(line: bytes, identity: str, source: str) -> Page:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return Page(identity, source, fault="not JSON")
    if not isinstance(row, dict):
        return Page(identity, source, fault="not a JSON object")
    return _row_page(row, identity, source)


def _row_page(row: dict[str, Any], identity: str, source: str) -> Page:
    """A row with the field `text`, or with `html` for pages that still have to be extracted."""
    text, html = row.get("text"), row.get("html")
    if not isinstance(text, str) and not isinstance(html, str):
        return Page(identity, source, fault="has no text in the field `text` and no page in `html`")
    metadata = row.get("metadata")
    details: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    return Page(
        id=str(row.get("id") or identity),
        source=str(row.get("source") or source),
        body=str(text if isinstance(text, str) else html).encode("utf-8", "replace"),
        url=str(row.get("url") or details.get("url") or ""),
        added=str(row.get("added") or row.get("date") or "")[:10],
        charset="utf-8",
        html=not isinstance(text, str),
    )


def _read_parquet(part: Part) -> Iterator[Page]:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    name = part.file.rpartition("/")[2]
    try:
        with open_file(part.file) as stream:
            number = 0
            for batch in parquet.ParquetFile(stream).iter_batches(256):
                for row in batch.to_pylist():
                    number += 1
                    yield _row_page(row, f"{name}:{number}", part.source)
    except (arrow.ArrowInvalid, OSError) as fault:
        raise DataError(_broken(part, f"is no Parquet file or a damaged one ({str(fault).splitlines()[0]})")) from None


# ---- one page a file ----


def _whole(part: Part, *, html: bool) -> Iterator[Page]:
    url = Path(part.file).resolve().as_uri() if "://" not in part.file else part.file
    page = Page(part.file, part.source, url=url)
    if size_of(part.file) > PAGE_BYTES:
        yield page.failed(f"longer than {PAGE_BYTES:,} bytes")
        return
    with open_file(part.file) as stream:
        yield page.holding(stream.read(), "", html=html)


def _read_html(part: Part) -> Iterator[Page]:
    yield from _whole(part, html=True)


def _read_text(part: Part) -> Iterator[Page]:
    yield from _whole(part, html=False)


READERS: dict[str, Callable[[Part], Iterator[Page]]] = {
    ".warc.gz": _read_archive,
    ".warc": _read_archive,
    ".wet.gz": _read_archive,
    ".wet": _read_archive,
    ".arc.gz": _read_archive,
    ".arc": _read_archive,
    ".jsonl.gz": _read_jsonl,
    ".jsonl.zst": _read_jsonl,
    ".json.gz": _read_jsonl,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".html": _read_html,
    ".htm": _read_html,
    ".xhtml": _read_html,
    ".md": _read_text,
    ".txt": _read_text,
}
