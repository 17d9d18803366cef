"""Raw files as pages: WARC, HTML, JSON lines, Parquet, Markdown and plain text."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd.core.errors import DataError

PAGE_BYTES = 20_000_000  # a longer page is no page


@dataclass(frozen=True)
class Page:
    """One page as it came. body: bytes for HTML, text for the rest. charset: what its server said.
    fault: why it cannot be used; such a page is counted and has no body."""

    id: str
    source: str
    body: bytes | str
    url: str = ""
    added: str = ""
    charset: str = ""
    fault: str = ""


def read_pages(file: Path, source: str) -> Iterator[Page]:
    """The pages in `file`, read by its ending.

    Raises DataError for an ending nobody reads, a missing file and a file that breaks off.
    """
    reader = _reader(file)
    if reader is None:
        raise DataError(f"{file}: no reader for this ending; herd reads {', '.join(READERS)}")
    if not file.exists():
        raise DataError(f"{file}: there is no such file; it was moved or deleted since the run was planned")
    yield from reader(file, source)


def _reader(file: Path) -> Callable[[Path, str], Iterator[Page]] | None:
    name = file.name.lower()
    return next((READERS[ending] for ending in READERS if name.endswith(ending)), None)


def is_readable(file: Path) -> bool:
    return _reader(file) is not None


# ---- WARC ----


def _read_warc(file: Path, source: str) -> Iterator[Page]:
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    last = 0
    with file.open("rb") as stream:
        try:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True):
                last = record.stream_pos
                yield _warc_page(record, file, source)
        except DataError:
            raise
        except Exception as fault:  # the library has no common class for what a broken archive raises
            raise DataError(_broken(file, f"cannot be read on after byte {last:,} ({fault})")) from None
    if file.suffix == ".gz" and not _ends_whole(file, last):
        raise DataError(_broken(file, f"breaks off in the middle of a record after byte {last:,}"))


def _warc_page(record: Any, file: Path, source: str) -> Page:
    url = record.headers.get("WARC-Target-URI", "")
    wanted = record.content_length
    identity = record.record_id or f"{file.name}@{record.stream_pos}"
    added = record.headers.get("WARC-Date", "")[:10]
    if wanted > PAGE_BYTES:
        return Page(identity, source, b"", url, added, fault=f"longer than {PAGE_BYTES:,} bytes")
    body = record.reader.read()
    if len(body) < wanted:
        raise DataError(_broken(file, f"breaks off in {url or identity}: {len(body):,} of {wanted:,} bytes are there"))
    if (record.http_content_type or "text/html") not in ("text/html", "application/xhtml+xml"):
        return Page(identity, source, b"", url, added, fault=f"not HTML but {record.http_content_type}")
    return Page(identity, source, body, url, added, record.http_charset or "")


def _broken(file: Path, what: str) -> str:
    return f"{file}: {what}; fetch the file again, or set curate.broken_files to keep to use what comes before"


def _ends_whole(file: Path, start: int) -> bool:
    """Whether the gzip members from byte `start` to the end are complete."""
    with file.open("rb") as stream:
        stream.seek(start)
        rest = stream.read()
    while rest:
        member = zlib.decompressobj(wbits=31)
        try:
            member.decompress(rest)
        except zlib.error:
            return False
        if not member.eof:
            return False
        rest = member.unused_data
    return True


# ---- tables and texts ----


def _read_jsonl(file: Path, source: str) -> Iterator[Page]:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rb") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _json_page(line, f"{file.name}:{number}", source)
        except (EOFError, OSError, zlib.error) as fault:
            raise DataError(_broken(file, f"breaks off ({fault})")) from None


def _json_page(line: bytes, identity: str, source: str) -> Page:
    try:
        row = json.loads(line)
    except ValueError:
        return Page(identity, source, "", fault="not JSON")
    if not isinstance(row, dict):
        return Page(identity, source, "", fault="not a JSON object")
    return _row_page(row, identity, source)


def _row_page(row: dict[str, Any], identity: str, source: str) -> Page:
    text = row.get("text")
    if not isinstance(text, str):
        return Page(identity, source, "", fault="has no text in the field `text`")
    return Page(
        id=str(row.get("id") or identity),
        source=str(row.get("source") or source),
        body=text,
        url=str(row.get("url") or ""),
        added=str(row.get("added") or row.get("date") or "")[:10],
    )


def _read_parquet(file: Path, source: str) -> Iterator[Page]:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        number = 0
        for batch in parquet.ParquetFile(file).iter_batches(4096):
            for row in batch.to_pylist():
                number += 1
                yield _row_page(row, f"{file.name}:{number}", source)
    except (arrow.ArrowInvalid, OSError) as fault:
        raise DataError(_broken(file, f"is no Parquet file or a damaged one ({str(fault).splitlines()[0]})")) from None


def _read_html(file: Path, source: str) -> Iterator[Page]:
    if file.stat().st_size > PAGE_BYTES:
        yield Page(str(file), source, b"", fault=f"longer than {PAGE_BYTES:,} bytes")
    else:
        yield Page(str(file), source, file.read_bytes(), url=file.resolve().as_uri())


def _read_text(file: Path, source: str) -> Iterator[Page]:
    try:
        yield Page(str(file), source, file.read_bytes().decode("utf-8-sig"), url=file.resolve().as_uri())
    except UnicodeDecodeError as fault:
        yield Page(str(file), source, "", fault=f"not UTF-8 at byte {fault.start}")


READERS: dict[str, Callable[[Path, str], Iterator[Page]]] = {
    ".warc.gz": _read_warc,
    ".warc": _read_warc,
    ".jsonl.gz": _read_jsonl,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".html": _read_html,
    ".htm": _read_html,
    ".md": _read_text,
    ".txt": _read_text,
}
