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

from herd.core.addresses import size_of
from herd.core.errors import DataError
from herd.core.manifests import sha256, verify_checksum, with_checksum
from herd.corpus.encodings import decode
from herd.corpus.extract import OUTCOMES, extract, mark_xhtml
from herd.corpus.judging import RuleResults, apply_rules
from herd.corpus.kernels import set_dirty_words
from herd.corpus.pages import Page, batch_pages
from herd.corpus.reading import FileSpan, read_pages, split_file
from herd.corpus.settings import CurateSettings, read_phrases
from herd.corpus.shards import BatchWriter
from herd.corpus.stats import STAT_NAMES, Stats
from herd.corpus.tally import Tally
from herd.corpus.urls import block_reasons
from herd.corpus.writing import REJECT_COLUMNS

if TYPE_CHECKING:
    import pyarrow as arrow

_OUTPUTS = ("parts", "rejects", "stats")
_VERSION = 2  # of the columns that a shard's files have
_MAX_FILES = 2_000  # small files that one shard holds at most


@dataclass
class ShardSummary(Tally):
    """What became of a shard's pages. alone: documents that a rule drops when it is the only one. rewritten:
    what rules masked or took out, by kind. broken: files that break off."""

    pages: int = 0
    rows: int = 0
    alone: Counter[str] = field(default_factory=Counter)
    rewritten: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, summary: ShardSummary) -> None:
        self.add_drops(summary)
        self.pages += summary.pages
        self.rows += summary.rows
        self.broken += summary.broken
        self.alone.update(summary.alone)
        self.rewritten.update(summary.rewritten)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> ShardSummary:
        counters: dict[str, Any] = {
            name: Counter(row.get(name, {})) for name in ("dropped", "alone", "rewritten", "unread")
        }
        return cls(**row | counters)


@dataclass(frozen=True)
class InputShard:
    """Files, or parts of files, that one worker reads; what comes of them is called by `number`."""

    number: int
    spans: tuple[FileSpan, ...]
    settings: CurateSettings
    folder: Path

    def file(self, kind: str) -> Path:
        return self.folder / kind / f"{self.number:05}.arrow"


def plan_shards(files: Sequence[FileSpan], settings: CurateSettings, folder: Path) -> list[InputShard]:
    """The files as work for many: large archives in several shards, many small files in one.

    What is in a shard depends on the files only, never on who works on them.
    """
    max_bytes = settings.shard_bytes
    groups: list[list[FileSpan]] = [[]]
    group_bytes = 0
    for file in files:
        spans = split_file(file, max_bytes)
        size = size_of(file.file) if len(spans) == 1 else max_bytes
        for span in spans:
            if groups[-1] and (group_bytes + size > max_bytes or len(groups[-1]) >= _MAX_FILES):
                groups.append([])
                group_bytes = 0
            groups[-1].append(span)
            group_bytes += size
    return [InputShard(number, tuple(spans), settings, folder) for number, spans in enumerate(groups) if spans]


def prepare_shard(shard: InputShard) -> ShardSummary:
    """Reads, extracts, measures and judges the pages of a shard.

    Leaves documents that pass in `parts/`, the others in `rejects/` and statistics in `stats/`; a shard whose
    summary is there already, with all its files as they were written, is not done again.
    """
    summary_path = shard.folder / "summaries" / f"{shard.number:05}.json"
    earlier = _earlier_summary(shard, summary_path)
    if earlier is not None:
        return earlier
    for kind in (*_OUTPUTS, "summaries"):
        (shard.folder / kind).mkdir(parents=True, exist_ok=True)
        shard.file(kind).unlink(missing_ok=True)
    if shard.settings.dirty_words:
        set_dirty_words(read_phrases(shard.settings.dirty_words))
    shard_filter = _ShardFilter(shard)
    for source, pages in _batches(shard, shard_filter.summary):
        shard_filter.filter_pages(pages, source)
    summary = shard_filter.close()
    partial = summary_path.with_suffix(".partial")
    row = with_checksum({"version": _VERSION, "summary": vars(summary), "files": _hashes(shard)})
    partial.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    partial.rename(summary_path)
    return summary


def _earlier_summary(shard: InputShard, summary_path: Path) -> ShardSummary | None:
    """What an earlier try found, if what it wrote is still there bit for bit."""
    try:
        row = verify_checksum(json.loads(summary_path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None
    return (
        ShardSummary.of_row(row["summary"])
        if (row.get("version"), row["files"]) == (_VERSION, _hashes(shard))
        else None
    )


def _hashes(shard: InputShard) -> dict[str, str]:
    """The sha256 of each file of a shard; of some nothing is written."""
    return {kind: sha256(shard.file(kind)) for kind in _OUTPUTS if shard.file(kind).exists()}


def _batches(shard: InputShard, summary: ShardSummary) -> Iterator[tuple[str, arrow.RecordBatch]]:
    """Batches of pages that the same rules judge, with one of their sources."""
    for span in shard.spans:
        for batch in batch_pages(_until_broken(span, shard.settings.broken_files, summary)):
            yield from _by_rules(batch, shard.settings)


def _until_broken(span: FileSpan, broken_files: str, summary: ShardSummary) -> Iterator[Page]:
    try:
        yield from read_pages(span)
    except DataError as fault:
        if broken_files == "stop":
            raise DataError(f"{fault}; fetch the file again, or set broken_files to keep to go on without it") from None
        summary.broken.append(str(fault))


def _by_rules(batch: arrow.RecordBatch, settings: CurateSettings) -> Iterator[tuple[str, arrow.RecordBatch]]:
    """The batch, source after source, cut only where other rules begin: a file may have a source a row."""
    import pyarrow as arrow

    sources = batch.column("source").to_pylist()
    source_order = {source: number for number, source in enumerate(dict.fromkeys(sources))}
    if len(source_order) == 1:
        yield sources[0], batch
        return
    ordered = sorted(range(len(sources)), key=lambda row: source_order[sources[row]])
    for _, group in itertools.groupby(ordered, key=lambda row: settings.rules_key(sources[row])):
        rows = list(group)
        yield sources[rows[0]], batch.take(arrow.array(rows))


class _ShardFilter:
    """Where a shard's pages part: documents that pass, rejects and statistics each go to a file of their own."""

    def __init__(self, shard: InputShard) -> None:
        self._settings, self.summary = shard.settings, ShardSummary()
        self._document_writer, self._reject_writer, self._stats_writer = (
            BatchWriter(shard.file(kind)) for kind in ("parts", "rejects", "stats")
        )

    def filter_pages(self, pages: arrow.RecordBatch, source: str) -> None:
        import pyarrow as arrow

        self.summary.pages += pages.num_rows
        page_texts = extract_texts(pages, self._settings)
        if page_texts.unusable.any():
            self._reject(pages.filter(arrow.array(page_texts.unusable)), page_texts.steps, page_texts.reasons)
        if page_texts.unusable.all():
            return
        pages = pages.filter(arrow.array(~page_texts.unusable))
        results = apply_rules(page_texts.texts, self._settings.rules_for(source), self._settings.languages)
        self.summary.alone.update(results.alone)
        self.summary.rewritten.update(results.metrics)
        dropped = results.step != ""
        if dropped.any():
            mask, steps = arrow.array(dropped), results.step[dropped].tolist()
            details = (
                page_texts.texts.filter(mask),
                arrow.array(results.languages.codes[dropped].tolist(), arrow.string()),
            )
            self._reject(pages.filter(mask), steps, results.reasons[dropped].tolist(), *details)
        if self._settings.keep_stats:
            self._stats_writer.write(_stats_table(pages, results))
        if not dropped.all():
            self._document_writer.write(_documents(pages, page_texts.titles, results, ~dropped))

    def _reject(
        self,
        pages: arrow.RecordBatch,
        steps: list[str],
        reasons: list[str],
        texts: arrow.Array | None = None,
        languages: arrow.Array | None = None,
    ) -> None:
        import pyarrow as arrow

        columns = {name: pages.column(name) for name in ("id", "source", "url", "added", "notes")}
        empty = arrow.array([""] * pages.num_rows, arrow.string())
        columns["text"] = empty.cast(arrow.large_string()) if texts is None else texts
        columns["language"] = empty if languages is None else languages
        columns |= {"step": arrow.array(steps, arrow.string()), "reason": arrow.array(reasons, arrow.string())}
        batch = arrow.record_batch(columns).select(REJECT_COLUMNS)
        self._reject_writer.write(batch)
        self.summary.drop(batch)

    def close(self) -> ShardSummary:
        for writer in (self._document_writer, self._reject_writer, self._stats_writer):
            writer.close()
        self.summary.rows = self._document_writer.rows
        assert self.summary.pages == self._document_writer.rows + self._reject_writer.rows, (
            "every page is kept or rejected"
        )
        return self.summary


@dataclass(frozen=True)
class PageTexts:
    """What pages say. texts, titles: of the usable pages. steps, reasons: of the others, why they say nothing."""

    unusable: NDArray[np.bool_]
    steps: list[str]
    reasons: list[str]
    texts: arrow.LargeStringArray
    titles: list[str]


def extract_texts(pages: arrow.RecordBatch, settings: CurateSettings) -> PageTexts:
    """The texts of a batch of pages: decoded, and extracted where they are HTML."""
    import pyarrow as arrow

    faults = _faults(pages, settings)
    charsets, bodies = pages.column("charset").to_pylist(), pages.column("body")
    ids, urls = pages.column("id").to_pylist(), pages.column("url").to_pylist()
    html: list[tuple[int, bytes]] = []
    page_texts, titles = [""] * pages.num_rows, [""] * pages.num_rows
    for k, is_html in enumerate(pages.column("html").to_pylist()):
        if faults[k]:
            continue
        body = decode(bodies[k].as_py(), charsets[k])
        if body is None:
            faults[k] = "decode", "its bytes are text in no encoding that was tried"
        elif is_html:
            html.append((k, mark_xhtml(body, ids[k], urls[k])))
        else:
            page_texts[k] = body.decode("utf-8").removeprefix("\ufeff").replace("\x00", "").replace("\r\n", "\n")
            if not page_texts[k].strip():
                faults[k] = "extract", OUTCOMES[1]
    if html:
        extracts = extract([body for _, body in html], settings.extract)
        texts, heads = extracts.text.to_pylist(), extracts.title.to_pylist()
        for (k, _), text, title, outcome in zip(html, texts, heads, extracts.outcome.tolist(), strict=True):
            page_texts[k], titles[k] = text, title
            if outcome:
                faults[k] = "extract", OUTCOMES[outcome]
    for k, text in enumerate(page_texts):
        # A character is four bytes at most: few texts need counting.
        if not faults[k] and 4 * len(text) > settings.max_text_bytes and len(text.encode()) > settings.max_text_bytes:
            faults[k] = "length", f"its text is longer than {settings.max_text_bytes:,} bytes"
    unusable = np.array([fault is not None for fault in faults], np.bool_)
    usable = np.flatnonzero(~unusable).tolist()
    steps, reasons = map(list, zip(*(fault for fault in faults if fault), strict=True)) if unusable.any() else ([], [])
    return PageTexts(
        unusable,
        steps,
        reasons,
        arrow.array([page_texts[k] for k in usable], arrow.large_string()),
        [titles[k] for k in usable],
    )


def _faults(pages: arrow.RecordBatch, settings: CurateSettings) -> list[tuple[str, str] | None]:
    """Step and reason of pages that are not looked at: they could not be read, or their address is blocked."""
    faults: list[tuple[str, str] | None] = [
        ("read", reason) if reason else None for reason in pages.column("fault").to_pylist()
    ]
    if settings.urls.has_rules:
        for k, reason in enumerate(block_reasons(pages.column("url").to_pylist(), settings.urls)):
            if reason and not faults[k]:
                faults[k] = "url", reason
    return faults


def _documents(
    pages: arrow.RecordBatch, titles: list[str], results: RuleResults, passed: NDArray[np.bool_]
) -> arrow.RecordBatch:
    import pyarrow as arrow

    mask = arrow.array(passed)
    columns = {name: pages.column(name).filter(mask) for name in ("id", "source", "url", "added", "notes")}
    columns["text"] = results.texts.filter(mask)
    columns["title"] = arrow.array(titles, arrow.large_string()).filter(mask)
    columns["language"] = arrow.array(results.languages.codes[passed].tolist(), arrow.string())
    columns["stats"] = _struct(results.stats[-1]).filter(mask)
    return arrow.record_batch(columns)


def _struct(stats: Stats) -> arrow.StructArray:
    import pyarrow as arrow

    numbers = [arrow.array(column.astype(np.float32)) for column in stats.columns().values()]
    return arrow.StructArray.from_arrays(numbers, STAT_NAMES)


def _stats_table(pages: arrow.RecordBatch, results: RuleResults) -> arrow.RecordBatch:
    """Per document the step that dropped it and the statistics of every state of its text."""
    import pyarrow as arrow

    columns: dict[str, Any] = {"id": pages.column("id"), "source": pages.column("source")}
    columns["step"] = arrow.array(results.step.tolist(), arrow.string())
    columns["language"] = arrow.array(results.languages.codes.tolist(), arrow.string())
    columns["states"] = arrow.array([len(results.stats)] * pages.num_rows, arrow.int8())
    states = [_struct(stats) for stats in results.stats]
    columns["stats"] = _stats_lists(states)
    return arrow.record_batch(columns)


def _stats_lists(states: list[arrow.StructArray]) -> arrow.ListArray:
    """One list a document with its statistics in every state."""
    import pyarrow as arrow

    count, rows = len(states), len(states[0])
    order = np.arange(count * rows).reshape(count, rows).T.ravel()
    values = arrow.chunked_array(states).combine_chunks().take(arrow.array(order))
    return arrow.ListArray.from_arrays(arrow.array(np.arange(0, count * rows + 1, count, dtype=np.int32)), values)
