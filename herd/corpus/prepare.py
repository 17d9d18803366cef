"""Raw files to judged documents, shard by shard: what happens to a page before it meets the others."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from herd.core.errors import DataError
from herd.core.manifests import check_signed, sha256, signed
from herd.corpus.encodings import decode
from herd.corpus.extract import OUTCOMES, as_named, extract
from herd.corpus.judging import Judged, judge
from herd.corpus.kernels import give_dirty_words
from herd.corpus.pages import Page, batches
from herd.corpus.parts import Writer
from herd.corpus.reading import Part, parts_of, read_pages, size_of
from herd.corpus.settings import CurateSettings, read_words
from herd.corpus.stats import NUMBERS, Stats
from herd.corpus.tally import Tally
from herd.corpus.urls import blocked
from herd.corpus.writing import REJECTED

if TYPE_CHECKING:
    import pyarrow as arrow

_WRITTEN = ("parts", "rejects", "stats")
_MANY_FILES = 2_000  # small files that one shard holds at most


@dataclass
class Summary(Tally):
    """What became of a shard's pages. alone: documents that a rule drops when it is the only one. rewritten:
    what rules masked or took out, by kind. broken: files that break off."""

    pages: int = 0
    rows: int = 0
    alone: Counter[str] = field(default_factory=Counter)
    rewritten: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        self.add_drops(other)
        self.pages += other.pages
        self.rows += other.rows
        self.broken += other.broken
        self.alone.update(other.alone)
        self.rewritten.update(other.rewritten)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Summary:
        counters: dict[str, Any] = {name: Counter(row[name]) for name in ("dropped", "alone", "rewritten")}
        return cls(**row | counters)


@dataclass(frozen=True)
class Shard:
    """Files, or parts of files, that one worker reads; what comes of them is called by `number`."""

    number: int
    parts: tuple[Part, ...]
    settings: CurateSettings
    folder: Path

    def file(self, what: str) -> Path:
        return self.folder / what / f"{self.number:05}.arrow"


def shards(files: Sequence[tuple[str, str]], settings: CurateSettings, folder: Path) -> list[Shard]:
    """The files as work for many: large archives in several shards, many small files in one.

    What is in a shard depends on the files only, never on who works on them.
    """
    most = settings.shard_bytes
    groups: list[list[Part]] = [[]]
    held = 0
    for file, source in files:
        parts = parts_of(file, source, most)
        size = size_of(file) if len(parts) == 1 else most
        for part in parts:
            if groups[-1] and (held + size > most or len(groups[-1]) >= _MANY_FILES):
                groups.append([])
                held = 0
            groups[-1].append(part)
            held += size
    return [Shard(number, tuple(parts), settings, folder) for number, parts in enumerate(groups) if parts]


def prepare(shard: Shard) -> Summary:
    """Reads, extracts, measures and judges the pages of a shard.

    Leaves documents that pass in `parts/`, the others in `rejects/` and statistics in `stats/`; a shard whose
    summary is there already, with all its files as they were written, is not done again.
    """
    done = shard.folder / "summaries" / f"{shard.number:05}.json"
    before = _done_before(shard, done)
    if before is not None:
        return before
    for what in (*_WRITTEN, "summaries"):
        (shard.folder / what).mkdir(parents=True, exist_ok=True)
        shard.file(what).unlink(missing_ok=True)
    if shard.settings.dirty_words:
        give_dirty_words(read_words(shard.settings.dirty_words))
    sieve = _Sieve(shard)
    for source, pages in _batches(shard, sieve.summary):
        sieve.judge(pages, source)
    summary = sieve.close()
    partial = done.with_suffix(".partial")
    row = signed({"summary": vars(summary), "files": _hashes(shard)})
    partial.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    partial.rename(done)
    return summary


def _done_before(shard: Shard, done: Path) -> Summary | None:
    """What an earlier try found, if what it wrote is still there bit for bit."""
    try:
        row = check_signed(json.loads(done.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None
    return Summary.of_row(row["summary"]) if row["files"] == _hashes(shard) else None


def _hashes(shard: Shard) -> dict[str, str]:
    """The sha256 of each file of a shard; of some nothing is written."""
    return {what: sha256(shard.file(what)) for what in _WRITTEN if shard.file(what).exists()}


def _batches(shard: Shard, summary: Summary) -> Iterator[tuple[str, arrow.RecordBatch]]:
    """Batches of pages that the same rules judge, with one of their sources."""
    for part in shard.parts:
        for batch in batches(_until_broken(part, shard.settings.broken_files, summary)):
            yield from _by_rules(batch, shard.settings)


def _until_broken(part: Part, broken_files: str, summary: Summary) -> Iterator[Page]:
    try:
        yield from read_pages(part)
    except DataError as fault:
        if broken_files == "stop":
            raise DataError(f"{fault}; fetch the file again, or set broken_files to keep to go on without it") from None
        summary.broken.append(str(fault))


def _by_rules(batch: arrow.RecordBatch, settings: CurateSettings) -> Iterator[tuple[str, arrow.RecordBatch]]:
    """The batch, source after source, cut only where other rules begin: a file may have a source a row."""
    import pyarrow as arrow

    sources = batch.column("source").to_pylist()
    place = {source: number for number, source in enumerate(dict.fromkeys(sources))}
    if len(place) == 1:
        yield sources[0], batch
        return
    ordered = sorted(range(len(sources)), key=lambda row: place[sources[row]])
    for _, same in itertools.groupby(ordered, key=lambda row: settings.name_of_rules(sources[row])):
        rows = list(same)
        yield sources[rows[0]], batch.take(arrow.array(rows))


class _Sieve:
    """Where a shard's pages part: documents that pass, rejects and statistics each go to a file of their own."""

    def __init__(self, shard: Shard) -> None:
        self._settings, self.summary = shard.settings, Summary()
        self._kept, self._rejected, self._stats = (Writer(shard.file(what)) for what in ("parts", "rejects", "stats"))

    def judge(self, pages: arrow.RecordBatch, source: str) -> None:
        import pyarrow as arrow

        self.summary.pages += pages.num_rows
        found = to_texts(pages, self._settings)
        if found.unusable.any():
            self._reject(pages.filter(arrow.array(found.unusable)), found.steps, found.reasons)
        if found.unusable.all():
            return
        pages = pages.filter(arrow.array(~found.unusable))
        judged = judge(found.texts, self._settings.of(source), self._settings.languages)
        self.summary.alone.update(judged.alone)
        self.summary.rewritten.update(judged.figures)
        dropped = judged.step != ""
        if dropped.any():
            lost, steps = arrow.array(dropped), judged.step[dropped].tolist()
            known = found.texts.filter(lost), arrow.array(judged.languages.codes[dropped].tolist(), arrow.string())
            self._reject(pages.filter(lost), steps, [f"rule {step}" for step in steps], *known)
        if self._settings.keep_stats:
            self._stats.write(_stats_table(pages, judged))
        if not dropped.all():
            self._kept.write(_documents(pages, found.titles, judged, ~dropped))

    def _reject(
        self,
        pages: arrow.RecordBatch,
        steps: list[str],
        reasons: list[str],
        texts: arrow.Array | None = None,
        languages: arrow.Array | None = None,
    ) -> None:
        import pyarrow as arrow

        columns = {name: pages.column(name) for name in ("id", "source", "url", "added")}
        empty = arrow.array([""] * pages.num_rows, arrow.string())
        columns["text"] = empty.cast(arrow.large_string()) if texts is None else texts
        columns["language"] = empty if languages is None else languages
        columns |= {"step": arrow.array(steps, arrow.string()), "reason": arrow.array(reasons, arrow.string())}
        batch = arrow.record_batch(columns).select(REJECTED)
        self._rejected.write(batch)
        self.summary.drop(batch)

    def close(self) -> Summary:
        for writer in (self._kept, self._rejected, self._stats):
            writer.close()
        self.summary.rows = self._kept.rows
        assert self.summary.pages == self._kept.rows + self._rejected.rows, "every page is kept or rejected"
        return self.summary


@dataclass(frozen=True)
class Texts:
    """What pages say. texts, titles: of the usable pages. steps, reasons: of the others, why they say nothing."""

    unusable: NDArray[np.bool_]
    steps: list[str]
    reasons: list[str]
    texts: arrow.LargeStringArray
    titles: list[str]


def to_texts(pages: arrow.RecordBatch, settings: CurateSettings) -> Texts:
    """The texts of a batch of pages: decoded, and extracted where they are HTML."""
    import pyarrow as arrow

    faults = _faults(pages, settings)
    charsets, bodies = pages.column("charset").to_pylist(), pages.column("body")
    ids, urls = pages.column("id").to_pylist(), pages.column("url").to_pylist()
    html: list[tuple[int, bytes]] = []
    found, titles = [""] * pages.num_rows, [""] * pages.num_rows
    for k, is_html in enumerate(pages.column("html").to_pylist()):
        if faults[k]:
            continue
        body = decode(bodies[k].as_py(), charsets[k])
        if body is None:
            faults[k] = "decode", "its bytes are text in no encoding that was tried"
        elif is_html:
            html.append((k, as_named(body, ids[k], urls[k])))
        else:
            found[k] = body.decode("utf-8").removeprefix("\ufeff").replace("\x00", "").replace("\r\n", "\n")
            if not found[k].strip():
                faults[k] = "extract", OUTCOMES[1]
    if html:
        extracts = extract([body for _, body in html], settings.extract)
        texts, heads = extracts.text.to_pylist(), extracts.title.to_pylist()
        for (k, _), text, title, outcome in zip(html, texts, heads, extracts.outcome.tolist(), strict=True):
            found[k], titles[k] = text, title
            if outcome:
                faults[k] = "extract", OUTCOMES[outcome]
    for k, text in enumerate(found):
        # A character is four bytes at most: few texts need counting.
        if not faults[k] and 4 * len(text) > settings.text_bytes and len(text.encode()) > settings.text_bytes:
            faults[k] = "length", f"its text is longer than {settings.text_bytes:,} bytes"
    unusable = np.array([fault is not None for fault in faults], np.bool_)
    stay = np.flatnonzero(~unusable).tolist()
    steps, reasons = map(list, zip(*(fault for fault in faults if fault), strict=True)) if unusable.any() else ([], [])
    return Texts(
        unusable,
        steps,
        reasons,
        arrow.array([found[k] for k in stay], arrow.large_string()),
        [titles[k] for k in stay],
    )


def _faults(pages: arrow.RecordBatch, settings: CurateSettings) -> list[tuple[str, str] | None]:
    """Step and reason of pages that are not looked at: they could not be read, or their address is blocked."""
    faults: list[tuple[str, str] | None] = [("read", why) if why else None for why in pages.column("fault").to_pylist()]
    if settings.urls.any:
        for k, why in enumerate(blocked(pages.column("url").to_pylist(), settings.urls)):
            if why and not faults[k]:
                faults[k] = "url", why
    return faults


def _documents(
    pages: arrow.RecordBatch, titles: list[str], judged: Judged, stays: NDArray[np.bool_]
) -> arrow.RecordBatch:
    import pyarrow as arrow

    mask = arrow.array(stays)
    columns = {name: pages.column(name).filter(mask) for name in ("id", "source", "url", "added")}
    columns["text"] = judged.texts.filter(mask)
    columns["title"] = arrow.array(titles, arrow.large_string()).filter(mask)
    columns["language"] = arrow.array(judged.languages.codes[stays].tolist(), arrow.string())
    columns["stats"] = _struct(judged.stats[-1]).filter(mask)
    return arrow.record_batch(columns)


def _struct(stats: Stats) -> arrow.StructArray:
    import pyarrow as arrow

    numbers = [arrow.array(column.astype(np.float32)) for column in stats.columns().values()]
    return arrow.StructArray.from_arrays(numbers, NUMBERS)


def _stats_table(pages: arrow.RecordBatch, judged: Judged) -> arrow.RecordBatch:
    """Per document the step that dropped it and the statistics of every state of its text."""
    import pyarrow as arrow

    columns: dict[str, Any] = {"id": pages.column("id"), "source": pages.column("source")}
    columns["step"] = arrow.array(judged.step.tolist(), arrow.string())
    columns["language"] = arrow.array(judged.languages.codes.tolist(), arrow.string())
    columns["states"] = arrow.array([len(judged.stats)] * pages.num_rows, arrow.int8())
    states = [_struct(one) for one in judged.stats]
    columns["stats"] = _lists(states)
    return arrow.record_batch(columns)


def _lists(states: list[arrow.StructArray]) -> arrow.ListArray:
    """One list a document with its statistics in every state."""
    import pyarrow as arrow

    count, rows = len(states), len(states[0])
    order = np.arange(count * rows).reshape(count, rows).T.ravel()
    values = arrow.chunked_array(states).combine_chunks().take(arrow.array(order))
    return arrow.ListArray.from_arrays(arrow.array(np.arange(0, count * rows + 1, count, dtype=np.int32)), values)
