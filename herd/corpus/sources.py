"""Where raw text comes from: a user's own files, or one of the sources that `tiny` makes itself.

A source is a function that plans a Crawl. Makers of sources that plant copies and spam keep the truth in
`labels.jsonl`, which only the audit reads.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from herd.core.artifacts import Crawl, sha256
from herd.core.cache import remember
from herd.core.errors import SettingsError
from herd.core.settings import Uncounted
from herd.core.stage import Work, stage
from herd.core.storage import read_lines, write_lines
from herd.corpus.reading import READERS, checksum, found_at, is_readable
from herd.world.pages import Labelled, Pages, PagesSettings
from herd.world.truth import World

FILES, LABELS = "files.json", "labels.jsonl"


def files(*patterns: str, source: str) -> Crawl:
    """A user's own files, named by path, folder or pattern, as the source called `source`.

    What counts is their contents: a file's hash is computed once and remembered as long as its size and
    time stay. Raises SettingsError when nothing is there or nothing can be read.
    """
    readable = find_files(patterns, source=source)
    prints = tuple(_fingerprint(file) for file in readable)
    return bring(source=source, fingerprints=prints, paths=tuple(readable))


def find_files(patterns: Sequence[str], *, source: str) -> list[str]:
    """The files that paths, folders, patterns and addresses name and that herd can read, sorted.

    Raises SettingsError when nothing is there or nothing can be read.
    """
    found = sorted({file for pattern in patterns for file in _matching(pattern)})
    if not found:
        raise SettingsError(f"source {source}: {', '.join(patterns)} names no file; check the path")
    readable = [file for file in found if is_readable(file)]
    if not readable:
        raise SettingsError(f"source {source}: {found[0]} has an ending nobody reads; herd reads {', '.join(READERS)}")
    return readable


def _matching(pattern: str) -> list[str]:
    if "://" in pattern:
        return found_at(pattern)
    path = Path(pattern).expanduser()
    if path.is_dir():
        return [str(file.resolve()) for file in path.rglob("*") if file.is_file() and is_readable(str(file))]
    if path.exists():
        return [str(path.resolve())]
    return [str(Path(name).resolve()) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name)]


def _fingerprint(file: str) -> str:
    """What tells two versions of a file apart: its hash, or what the service at an address says of it."""
    if "://" in file:
        return checksum(file)
    return remember("sha256", Path(file), lambda: sha256(Path(file)))


@stage(paper="3.1", version=1)
def bring(work: Work, *, source: str, fingerprints: tuple[str, ...], paths: Uncounted[tuple[str, ...]]) -> Crawl:
    """The list of files from outside; they stay where they are."""
    work.figure("files", len(paths))
    work.figure("fingerprints", fingerprints)
    work.figure("headline", f"{len(paths)} files as source {source}")
    return write_crawl(work.out, [(path, source) for path in paths])


@stage(paper="3.1", version=1)
def world_pages(work: Work, *, world: World, settings: PagesSettings) -> Crawl:
    """What is written about the small world, copies and spam among it, as JSON lines."""
    pages = list(Pages(world, settings).documents())
    write_lines(work.out / "world.jsonl", (_row(one) for one in pages))
    write_labels(work.out, pages)
    work.figure("pages", len(pages))
    work.figure("headline", f"{len(pages):,} pages about a world of {world.people} people")
    return write_crawl(work.out, [("world.jsonl", "world")])


def _row(one: Labelled) -> dict[str, Any]:
    document = one.document
    return {name: getattr(document, name) for name in ("id", "text", "source", "url", "added")}


# ---- the folder of a crawl ----


def write_crawl(folder: Path, listed: Sequence[tuple[str, str]]) -> Crawl:
    """Lists the files of a crawl, each with its source: relative paths lie in the folder itself."""
    rows = [{"path": path, "source": source} for path, source in listed]
    (folder / FILES).write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return Crawl(folder)


def crawl_files(crawl: Crawl) -> Iterator[tuple[str, str]]:
    """The files of a crawl, paths or addresses, each with its source."""
    for row in json.loads((crawl.path / FILES).read_text(encoding="utf-8")):
        yield row["path"] if "://" in row["path"] else str(crawl.path / row["path"]), row["source"]


def write_labels(folder: Path, pages: Iterable[Labelled]) -> None:
    write_lines(folder / LABELS, ({"id": one.document.id, "label": one.label, "of": one.of} for one in pages))


def read_labels(folder: Path) -> list[dict[str, Any]]:
    """The truth about a crawl's pages; nothing for a user's own files."""
    file = folder / LABELS
    return list(read_lines(file)) if file.exists() else []
