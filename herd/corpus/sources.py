"""Where raw text comes from. A source is a function that plans a Crawl; here, of a user's own files."""

from __future__ import annotations

import glob
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from urllib.parse import quote_from_bytes, unquote_to_bytes

from herd.core.addresses import files_at, is_address, remote_checksum, size_of
from herd.core.artifacts import Artifact, Crawl
from herd.core.errors import HerdError, SettingsError, did_you_mean
from herd.core.file_hashes import file_hashes
from herd.core.rowfiles import without_dataset_files
from herd.core.settings import NotInKey, build
from herd.core.stage import Work, stage, walk
from herd.core.status_line import StatusLine
from herd.corpus.columns import ANY_TABLE, AS_ROWS_SAY, TextColumns
from herd.corpus.first_rows import check_text_columns
from herd.corpus.reading import READABLE, FileSpan, is_readable, printable
from herd.corpus.results import CrawlFiles
from herd.corpus.unpacking import MAGIC

_MAX_ENDINGS = 12
FILES = "files.json"
_TEXT_BYTES_PER_TOKEN = 4.0
# Bytes of text that a byte of a file holds, about.
_TEXT_IN = {".gz": 3.0, ".bz2": 4.0, ".xz": 4.0, ".zst": 3.0, ".zip": 3.0, ".parquet": 2.5}


def files(*patterns: str, source: str, columns: TextColumns = ANY_TABLE) -> Crawl:
    """A user's own files, named by path, folder, pattern or address, as the source called `source`.

    columns: what tables hold where; unless it names a column of sources, `source` is that of every row, whatever rows
    say. What counts is the files' contents: a file's hash is computed once and remembered as long as its size and time
    stay. Raises SettingsError when nothing is there or nothing can be read, and where the first rows of all tables have
    no text in the columns named.
    """
    scan = scan_files(patterns, source=source)
    check_text_columns(scan.readable, source, columns)
    prints = _fingerprints(scan.readable, source)
    paths = tuple(map(_writable, scan.readable))
    return load_files(source=source, columns=columns, fingerprints=prints, paths=paths, passed_over=scan.passed_over)


def crawls_of(
    patterns: Mapping[str, Sequence[str]], columns: Mapping[str, TextColumns] = MappingProxyType({})
) -> tuple[Crawl, ...]:
    """The files of several sources, by their names. columns: what tables hold where, by source; `default` is for the
    sources not named. Raises SettingsError for columns of a source that is not there."""
    for source in columns.keys() - {"default", *patterns}:
        raise SettingsError(f"columns names the source {source!r}, which has no files{did_you_mean(source, patterns)}")
    default = columns.get("default", ANY_TABLE)
    return tuple(files(*own, source=source, columns=columns.get(source, default)) for source, own in patterns.items())


_ESCAPED = "bytes:"


def _writable(path: str) -> str:
    """The path as text that JSON can hold: a name may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _ESCAPED + quote_from_bytes(os.fsencode(path))
    return path


def _path(stored: str) -> str:
    return os.fsdecode(unquote_to_bytes(stored.removeprefix(_ESCAPED))) if stored.startswith(_ESCAPED) else stored


@dataclass(frozen=True)
class FileScan:
    """The files that are read, sorted, and how many others there are, by ending."""

    readable: tuple[str, ...]
    passed_over: dict[str, int]


def scan_files(patterns: Sequence[str], *, source: str) -> FileScan:
    """The files that paths, folders, patterns and addresses name: those that herd can read, and the others.

    Raises SettingsError when nothing is there or nothing can be read.
    """
    by_path: dict[str, str] = {}
    for file in sorted(itertools.chain.from_iterable(_expand(pattern) for pattern in patterns)):
        real = file if "://" in file else os.path.realpath(file)
        if real not in by_path or (is_readable(file) and not is_readable(by_path[real])):
            by_path[real] = file  # what a link is called counts, not what it leads to
    if not by_path:
        raise SettingsError(f"source {source}: {', '.join(patterns)} names no file; check the path")
    rows = without_dataset_files(by_path.values())
    readable = {file for file in rows if is_readable(file) and ("://" in file or os.path.isfile(file))}
    if not readable:
        first = printable(min(by_path.values()))
        raise SettingsError(f"source {source}: {first} has an ending nobody reads; herd reads {READABLE}")
    passed_over = Counter(_ending(file) for file in by_path.values() if file not in readable)
    return FileScan(tuple(sorted(readable)), dict(passed_over.most_common()))


def find_files(patterns: Sequence[str], *, source: str) -> list[str]:
    """The files that `scan_files` finds and herd can read."""
    return list(scan_files(patterns, source=source).readable)


def text_tokens(files: Iterable[str]) -> float:
    """About how many tokens of text there are in files, by their bytes, before any is left out. Raises DataError for a
    file at an address that does not say how large it is."""
    text = sum(size_of(file) * _TEXT_IN.get(os.path.splitext(file)[1].lower(), 1.0) for file in files)
    return text / _TEXT_BYTES_PER_TOKEN


def planned_tokens_by_source(text: Artifact) -> dict[str, float] | None:
    """About how many tokens of each source the files hold that planned `text` is made of; None where it is not made of
    files alone, or one of them does not say how large it is."""
    tokens: dict[str, float] = {}
    for plan in walk(text):
        if plan.stage.name == load_files.name:
            source = plan.settings["source"]
            try:
                tokens[source] = tokens.get(source, 0.0) + text_tokens(map(_path, plan.settings["paths"]))
            except (HerdError, OSError):
                return None
        elif not plan.parents and plan.stage.artifact_type is Crawl:
            return None
    return tokens


def planned_text_tokens(text: Artifact) -> float | None:
    """About how many tokens the files hold that planned `text` is made of; None where nothing says."""
    return sum((planned_tokens_by_source(text) or {}).values()) or None


def describe_passed_over(passed_over: Mapping[str, int]) -> str:
    """How many files were passed over, by ending."""
    named = ", ".join(f"{count:,} {ending}" for ending, count in list(passed_over.items())[:_MAX_ENDINGS])
    remaining = sum(list(passed_over.values())[_MAX_ENDINGS:])
    return f"{sum(passed_over.values()):,} files passed over, whose endings nobody reads: {named}" + (
        f" and {remaining:,} with others" if remaining else ""
    )


def _ending(file: str) -> str:
    if "://" not in file and not os.path.isfile(file):
        return "(links that lead nowhere, sockets and the like)"
    suffixes = PurePath(file.lower()).suffixes
    ending = "".join(suffixes[-2:] if suffixes[-1:] and suffixes[-1] in MAGIC else suffixes[-1:])
    return printable(ending[-24:]) or "(none)"


def _expand(pattern: str) -> list[str]:
    if "://" in pattern:
        return files_at(pattern)
    path = Path(pattern).expanduser()
    if path.is_dir():
        return list(_in_folder(path))
    if path.exists():
        return [os.path.abspath(path)]
    return [os.path.abspath(name) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name)]


def _in_folder(path: Path) -> Iterator[str]:
    """The files below a folder, links to folders entered, each folder once."""

    def refuse(fault: OSError) -> None:
        raise SettingsError(
            f"{printable(str(fault.filename))}: cannot be entered ({fault.strerror}); check who may read it"
        )

    visited: set[tuple[int, int]] = set()
    for folder, inner, names in os.walk(path.resolve(), followlinks=True, onerror=refuse):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in visited:
            inner.clear()  # a link to a folder that was entered already
            continue
        visited.add((here.st_dev, here.st_ino))
        inner.sort()
        yield from (os.path.join(folder, name) for name in names)


def _fingerprints(files: Sequence[str], source: str) -> tuple[str, ...]:
    """What tells two versions of a file apart: its hash, or what the service at an address says of it."""
    local = [file for file in files if not is_address(file)]
    prints = dict(zip(local, file_hashes([Path(file) for file in local]), strict=True))
    line = StatusLine(f"source {source}: files asked for their versions", quiet_seconds=1.0)
    for number, file in enumerate(files):
        if is_address(file):
            prints[file] = remote_checksum(file)
            line(number + 1, len(files))
    line.clear()
    return tuple(prints[file] for file in files)


@stage(paper="3.1", version=2)
def load_files(
    work: Work,
    *,
    source: str,
    columns: TextColumns,
    fingerprints: tuple[str, ...],
    paths: NotInKey[tuple[str, ...]],
    passed_over: NotInKey[dict[str, int]],
) -> Crawl:
    """The list of files from outside; they stay where they are. passed_over: files beside them that nobody reads."""
    work.record(CrawlFiles(len(paths), passed_over, fingerprints))
    note = f"; {describe_passed_over(passed_over)}" if passed_over else ""
    work.headline = f"{len(paths)} files as source {source}{note}"
    return write_crawl(work.out, [(path, source) for path in paths], columns)


# ---- the folder of a crawl ----


def write_crawl(folder: Path, entries: Sequence[tuple[str, str]], columns: TextColumns | None = None) -> Crawl:
    """Lists the files of a crawl, each with its source: relative paths lie in the folder itself. columns: what tables
    hold where; when absent, rows say their source in `source`, and documents keep nothing else of them."""
    held = {} if columns is None else {"columns": columns.to_row()}
    rows = [{"path": path, "source": source, **held} for path, source in entries]
    (folder / FILES).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return Crawl(folder)


def crawl_files(crawl: Crawl) -> Iterator[FileSpan]:
    """The files of a crawl, paths or addresses, each with its source and columns."""
    for row in json.loads((crawl.path / FILES).read_text(encoding="utf-8")):
        path = _path(row["path"])
        columns = build(TextColumns, row["columns"], where=FILES) if "columns" in row else AS_ROWS_SAY
        yield FileSpan(path if "://" in path else str(crawl.path / path), row["source"], columns=columns)
