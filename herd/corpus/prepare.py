"""Raw files to judged documents, shard by shard: what happens to a page before it meets the others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from herd.core.errors import DataError
from herd.core.registry import Use
from herd.corpus.extract import OUTCOMES, ExtractSettings, decode, extract
from herd.corpus.judging import Judged, judge
from herd.corpus.kernels import give_dirty_words
from herd.corpus.pages import Page, batches
from herd.corpus.parts import Writer
from herd.corpus.reading import Part, parts_of, read_pages, size_of
from herd.corpus.stats import NUMBERS, Stats
from herd.corpus.urls import UrlRules, blocked
from herd.corpus.writing import EXAMPLE_CHARACTERS, EXAMPLES

if TYPE_CHECKING:
    import pyarrow as arrow

_MANY_FILES = 2_000  # small files that one shard holds at most


@dataclass(frozen=True)
class Rules:
    """All that decides what becomes of a page on its own."""

    rules: Mapping[str, tuple[Use, ...]]
    extract: ExtractSettings
    urls: UrlRules
    dirty_words: tuple[str, ...]
    broken_files: str
    keep_stats: bool
    shard_bytes: int

    def of(self, source: str) -> tuple[Use, ...]:
        return self.rules.get(source, self.rules.get("default", ()))


@dataclass
class Summary:
    """What became of a shard's pages. dropped, alone: documents by step, in order and when the step is the
    only one. examples: by step, a few of what it dropped. broken: files that break off."""

    pages: int = 0
    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        self.pages += other.pages
        self.rows += other.rows
        self.broken += other.broken
        for mine, more in ((self.dropped, other.dropped), (self.alone, other.alone), (self.masked, other.masked)):
            mine.update(more)
        for step, shown in other.examples.items():
            mine = self.examples.setdefault(step, [])
            mine += shown[: EXAMPLES - len(mine)]

    @classmethod
    def load(cls, file: Path) -> Summary:
        row = json.loads(file.read_text(encoding="utf-8"))
        return cls(**row | {name: Counter(row[name]) for name in ("dropped", "alone", "masked")})


@dataclass(frozen=True)
class Shard:
    """Files, or parts of files, that one worker reads; what comes of them is called by `number`."""

    number: int
    parts: tuple[Part, ...]
    rules: Rules
    folder: Path

    def file(self, what: str) -> Path:
        return self.folder / what / f"{self.number:05}.arrow"


def shards(files: Sequence[tuple[str, str]], rules: Rules, folder: Path) -> list[Shard]:
    """The files as work for many: large archives in several shards, many small files in one.

    What is in a shard depends on the files only, never on who works on them.
    """
    groups: list[list[Part]] = [[]]
    held = 0
    for file, source in files:
        for part in parts_of(file, source, rules.shard_bytes):
            size = rules.shard_bytes if part.span.start or part.span.end < 1 << 62 else size_of(file)
            if groups[-1] and (held + size > rules.shard_bytes or len(groups[-1]) >= _MANY_FILES):
                groups.append([])
                held = 0
            groups[-1].append(part)
            held += size
    return [Shard(number, tuple(parts), rules, folder) for number, parts in enumerate(groups) if parts]


def prepare(shard: Shard) -> Summary:
    """Reads, extracts, measures and judges the pages of a shard.

    Leaves documents that pass in `parts/`, the others in `rejects/` and statistics in `stats/`; a shard whose
    summary is there already is not done again.
    """
    done = shard.folder / "summaries" / f"{shard.number:05}.json"
    if done.exists():
        return Summary.load(done)
    for what in ("parts", "rejects", "stats", "summaries"):
        (shard.folder / what).mkdir(parents=True, exist_ok=True)
    if shard.rules.dirty_words:
        give_dirty_words(shard.rules.dirty_words)
    summary = Summary()
    kept, rejected, stats = (Writer(shard.file(what)) for what in ("parts", "rejects", "stats"))
    for source, pages in _batches(shard, summary):
        _judge_batch(pages, source, shard.rules, summary, kept, rejected, stats)
    for writer in (kept, rejected, stats):
        writer.close()
    summary.rows = kept.rows
    assert summary.pages == kept.rows + rejected.rows, "every page is kept or rejected"
    partial = done.with_suffix(".partial")
    partial.write_text(json.dumps(vars(summary), ensure_ascii=False), encoding="utf-8")
    partial.rename(done)
    return summary


def _batches(shard: Shard, summary: Summary) -> Iterator[tuple[str, arrow.RecordBatch]]:
    """Batches of pages of one source."""
    for part in shard.parts:
        for batch in batches(_until_broken(part, shard.rules.broken_files, summary)):
            yield from _by_source(batch)


def _until_broken(part: Part, broken_files: str, summary: Summary) -> Iterator[Page]:
    try:
        yield from read_pages(part)
    except DataError as fault:
        if broken_files == "stop":
            raise
        summary.broken.append(str(fault))


def _by_source(batch: arrow.RecordBatch) -> Iterator[tuple[str, arrow.RecordBatch]]:
    import pyarrow as arrow

    sources = batch.column("source").to_pylist()
    different = list(dict.fromkeys(sources))
    if len(different) == 1:
        yield different[0], batch
        return
    for source in different:
        yield source, batch.filter(arrow.array([one == source for one in sources]))


def _judge_batch(
    pages: arrow.RecordBatch,
    source: str,
    rules: Rules,
    summary: Summary,
    kept: Writer,
    rejected: Writer,
    stats: Writer,
) -> None:
    import pyarrow as arrow

    summary.pages += pages.num_rows
    steps, reasons, texts, titles = to_texts(pages, rules)
    usable = np.array([not step for step in steps])
    if not usable.all():
        own = arrow.array(~usable)
        bad = [k for k, step in enumerate(steps) if step]
        _reject(
            pages.filter(own), [""] * len(bad), [steps[k] for k in bad], [reasons[k] for k in bad], rejected, summary
        )
    if not usable.any():
        return
    good = pages.filter(arrow.array(usable))
    judged = judge(texts, rules.of(source))
    summary.alone.update(judged.alone)
    summary.masked.update(judged.figures)
    stays = judged.step == ""
    if not stays.all():
        out = np.flatnonzero(~stays).tolist()
        lost = [judged.step[k] for k in out]
        gone = texts.take(arrow.array(out)).to_pylist()
        _reject(good.filter(arrow.array(~stays)), gone, lost, [f"rule {step}" for step in lost], rejected, summary)
    if rules.keep_stats:
        stats.write(_stats_table(good, judged))
    if stays.any():
        kept.write(_documents(good, titles, judged, stays))


def to_texts(pages: arrow.RecordBatch, rules: Rules) -> tuple[list[str], list[str], arrow.LargeStringArray, list[str]]:
    """Step and reason of every page that gives no text (empty for the others), and the other pages' texts and
    titles."""
    import pyarrow as arrow

    steps, reasons = [""] * pages.num_rows, [""] * pages.num_rows
    faults, html = pages.column("fault").to_pylist(), pages.column("html").to_pylist()
    urls, charsets = pages.column("url").to_pylist(), pages.column("charset").to_pylist()
    bodies = pages.column("body")
    stopped = blocked(urls, rules.urls) if rules.urls.any else [""] * pages.num_rows
    decoded: list[bytes] = []
    numbers: list[int] = []
    for k, fault in enumerate(faults):
        if fault:
            steps[k], reasons[k] = "read", fault
        elif stopped[k]:
            steps[k], reasons[k] = "url", stopped[k]
        elif (text := decode(bodies[k].as_py(), charsets[k])) is None:
            steps[k], reasons[k] = "decode", "its bytes are text in no encoding that was tried"
        else:
            numbers.append(k)
            decoded.append(text)
    found: list[Any] = [None] * len(numbers)
    titles = [""] * len(numbers)
    from_html = [i for i, k in enumerate(numbers) if html[k]]
    if from_html:
        extracts = extract([decoded[i] for i in from_html], rules.extract)
        texts, heads = extracts.text.to_pylist(), extracts.title.to_pylist()
        for i, text, title, outcome in zip(from_html, texts, heads, extracts.outcome.tolist(), strict=True):
            found[i], titles[i] = text, title
            if outcome:
                steps[numbers[i]], reasons[numbers[i]] = "extract", OUTCOMES[outcome]
    for i, k in enumerate(numbers):
        if html[k]:
            continue
        found[i] = decoded[i].decode("utf-8").removeprefix("\ufeff").replace("\x00", "").replace("\r\n", "\n")
        if not found[i].strip():
            steps[k], reasons[k] = "extract", OUTCOMES[1]
    stay = [i for i, k in enumerate(numbers) if not steps[k]]
    texts = arrow.array([found[i] for i in stay], arrow.large_string())
    return steps, reasons, texts, [titles[i] for i in stay]


def _reject(
    pages: arrow.RecordBatch,
    texts: list[str],
    steps: list[str],
    reasons: list[str],
    rejected: Writer,
    summary: Summary,
) -> None:
    import pyarrow as arrow

    columns = {name: pages.column(name) for name in ("id", "source", "url", "added")}
    columns["text"] = arrow.array(texts, arrow.large_string())
    columns["step"], columns["reason"] = arrow.array(steps, arrow.string()), arrow.array(reasons, arrow.string())
    rejected.write(arrow.record_batch(columns))
    summary.dropped.update(steps)
    ids = pages.column("id").to_pylist()
    for name, step, reason, text in zip(ids, steps, reasons, texts, strict=True):
        shown = summary.examples.setdefault(step, [])
        if len(shown) < EXAMPLES:
            shown.append({"id": name, "reason": reason, "text": text[:EXAMPLE_CHARACTERS]})


def _documents(
    pages: arrow.RecordBatch, titles: list[str], judged: Judged, stays: np.ndarray[Any, np.dtype[np.bool_]]
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
