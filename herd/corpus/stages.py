"""Raw pages to clean documents, with a funnel that shows where every page went."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from herd.core.addresses import size_of
from herd.core.artifacts import Corpus, Crawl
from herd.core.errors import DataError
from herd.core.stage import Packages, Work, stage
from herd.core.terminal import count_of
from herd.corpus.columns import NAME_THE_COLUMN, is_without_text
from herd.corpus.dedup import dedups
from herd.corpus.filters import filters
from herd.corpus.prepare import InputShard, ShardSummary, plan_shards, prepare_shard
from herd.corpus.reading import TEXT_ENDINGS, FileSpan, ending_of
from herd.corpus.results import CorpusSize, CurationResult, DedupStats, DropExample, FilterCount, SourceSize
from herd.corpus.settings import CurateSettings
from herd.corpus.shards import DocumentShards
from herd.corpus.sources import crawl_files, describe_passed_over, scan_files
from herd.corpus.tally import Tally
from herd.corpus.writing import WriteCounts, WriteTask, write_shard
from herd.tokens.embeddings import WORDLLAMA

_MOST_TOLD = 8  # sources of which nothing is kept, each with why


def _packages(*, settings: CurateSettings) -> Packages:
    return (WORDLLAMA,) if any(step.name == "semantic" for step in settings.dedup) else ()


@stage(paper="3.1.1", version=4, packages=_packages)
def curate(work: Work, crawls: tuple[Crawl, ...], *, settings: CurateSettings) -> Corpus:
    """The documents worth training on: extracted, measured, judged, and each one once."""
    files = list(itertools.chain.from_iterable(crawl_files(crawl) for crawl in crawls))
    input_shards = plan_shards(files, settings, work.scratch / "shards")
    summary, rows = _prepare_all(work, input_shards)
    shards = DocumentShards(
        work.executor, work.scratch / "steps", [input_shard.file("parts") for input_shard in input_shards], rows
    )
    dedup: dict[str, DedupStats] = {}
    for number, use in enumerate(settings.dedup):
        work.progress(number, len(settings.dedup), f"{use.name}: {int(shards.alive.sum()):,} documents")
        result = dedups.make(use)(shards)
        for removal in result.removals:
            shards.drop(use.name, removal)
        dedup[use.name] = DedupStats(result.counts, tuple(result.samples))
    counts = _write(work, shards, input_shards)
    if not counts.documents:
        raise DataError(_empty_corpus_message(summary, counts))
    assert summary.pages == counts.documents + counts.rejects, "every page is kept or rejected"
    _warn_of_losses(work, summary, counts)
    work.record(CorpusSize(counts.documents, summary.pages))
    work.record(_result(summary, counts, settings, dedup))
    work.headline = f"{counts.documents:,} of {summary.pages:,} pages kept"
    return Corpus(work.out)


def _prepare_all(work: Work, input_shards: list[InputShard]) -> tuple[ShardSummary, list[int]]:
    total, rows = ShardSummary(), []
    for finished, summary in enumerate(work.executor.map(prepare_shard, input_shards), 1):
        total.add(summary)
        rows.append(summary.rows)
        work.progress(finished, len(input_shards), f"{total.pages:,} pages judged")
    return total, rows


def _write(work: Work, shards: DocumentShards, input_shards: list[InputShard]) -> WriteCounts:
    """The folder's final files: what is left, and all that was dropped."""
    for name in ("documents", "rejects", "stats"):
        (work.out / name).mkdir()
    removals = _removals_by_shard(shards)
    tasks = [
        WriteTask(shard, removals[shard.number], input_shard.file("rejects"), input_shard.file("stats"), work.out)
        for shard, input_shard in zip(shards.snapshot(shards.folder), input_shards, strict=True)
    ]
    total = WriteCounts()
    for counts in work.executor.map(write_shard, tasks):
        total.add(counts)
    if not any((work.out / "stats").iterdir()):
        (work.out / "stats").rmdir()
    return total


def _removals_by_shard(shards: DocumentShards) -> list[list[tuple[str, NDArray[np.int64], list[str]]]]:
    """For every shard what steps over all documents dropped of it, and why in words."""
    by_shard: list[list[tuple[str, NDArray[np.int64], list[str]]]] = [[] for _ in shards.starts[1:]]
    for step, removal in shards.removals:
        survivors = removal.survivors if removal.survivors is not None else np.full(len(removal.rows), -1)
        ids = shards.values("id", survivors[survivors >= 0])
        order = np.argsort(removal.rows, kind="stable")
        rows, survivors = removal.rows[order], survivors[order]
        shard_of = np.searchsorted(shards.starts, rows, side="right") - 1
        for number in np.unique(shard_of).tolist():
            in_shard = shard_of == number
            reasons = [
                removal.reason.replace("{kept}", ids.get(survivor, "")) for survivor in survivors[in_shard].tolist()
            ]
            by_shard[number].append((step, rows[in_shard] - int(shards.starts[number]), reasons))
    return by_shard


def _empty_corpus_message(total: ShardSummary, counts: WriteCounts) -> str:
    broken = f"; {'; '.join(total.broken[:3])}" if total.broken else ""
    if total.pages == 0:
        return f"the corpus is empty: the sources hold no pages{broken}; check what they name"
    dropped = total.dropped + counts.dropped
    steps = ", ".join(f"{count:,} by {step}" for step, count in dropped.most_common(4))
    step = dropped.most_common(1)[0][0]
    first = (total.examples | counts.examples)[step][0]
    return (
        f"the corpus is empty: all {count_of(total.pages, 'page')} were dropped, {steps} (the first of these: "
        f"{first['id']}, {first['reason']}){broken}; {_cure(step, first['reason'])}"
    )


def _cure(step: str, reason: str) -> str:
    """What to do about pages that a step drops for a reason."""
    if is_without_text(reason):
        return NAME_THE_COLUMN
    return "mend the files" if step in ("read", "decode", "extract") else "loosen the rules"


def _warn_of_losses(work: Work, total: ShardSummary, counts: WriteCounts) -> None:
    """Says which rows were no rows, and which sources the corpus has nothing of."""
    for kind, count in total.unread.items():
        rows = "row is" if count == 1 else "rows are"
        work.warn(
            f"{count:,} {rows} {kind} and left out, of {count_of(total.pages, 'page')}; the first is "
            f"{total.first_unread[kind]}"
        )
    both = Tally()
    both.add_drops(total)
    both.add_drops(counts)
    lost = [source for source in both.lost if source not in counts.sources]
    for source in lost[:_MOST_TOLD]:
        steps = both.lost[source]
        told = ", ".join(f"{count:,} by {step}" for step, count in Counter(steps).most_common(4))
        identity, reason = both.first_lost[source]
        one = (
            "; a text file is one page, so that long ones are better cut into documents"
            if _is_text_file(identity)
            else ""
        )
        work.warn(
            f"source {source}: none of its {count_of(sum(steps.values()), 'page')} is kept, {told} (the first: "
            f"{identity}, {reason}){one}; {_cure(next(iter(steps)), reason)}, or leave the source out"
        )
    if len(lost) > _MOST_TOLD:
        work.warn(f"of {len(lost) - _MOST_TOLD:,} more sources nothing is kept")


def _is_text_file(identity: str) -> bool:
    """Whether a page is called as the files are that are one page each."""
    return ending_of(identity)[0] in TEXT_ENDINGS


def _result(
    total: ShardSummary, counted: WriteCounts, settings: CurateSettings, dedup: Mapping[str, DedupStats]
) -> CurationResult:
    return CurationResult(
        characters=counted.characters,
        funnel=tuple(_funnel(total, counted, settings)),
        sources={source: SourceSize(*size) for source, size in sorted(counted.sources.items())},
        languages=dict(counted.languages.most_common()),
        broken_files=tuple(total.broken),
        rewritten=dict(total.rewritten),
        dedup=dedup,
    )


def _funnel(total: ShardSummary, counts: WriteCounts, settings: CurateSettings) -> Iterator[FilterCount]:
    """Step by step: how many documents came in, how many were dropped, how many the step would drop alone, and
    examples."""
    rules = itertools.chain.from_iterable(settings.rules.values())
    filter_names = [rule.name for rule in rules if rule.kind == filters.kind]
    dropped, examples = total.dropped + counts.dropped, total.examples | counts.examples
    length_step = ["length"] if dropped["length"] else []
    steps = [
        "read",
        "url",
        "decode",
        "extract",
        *length_step,
        *dict.fromkeys(filter_names),
        *(use.name for use in settings.dedup),
    ]
    remaining = total.pages
    for step in dict.fromkeys(steps):
        alone = total.alone[step] if step in filter_names else None
        looks = tuple(DropExample(**example) for example in examples.get(step, []))
        yield FilterCount(step, remaining, dropped[step], alone, looks)
        remaining -= dropped[step]


# ---- the corpus alone ----


def describe_input(sources: Mapping[str, Sequence[str]], settings: CurateSettings) -> Iterator[str]:
    """What a run would read and do, a line each. sources: paths, folders, patterns and addresses by source."""
    scans = {source: scan_files(patterns, source=source) for source, patterns in sources.items()}
    sizes = {source: sum(size_of(file) for file in scan.readable) for source, scan in scans.items()}
    spans = [FileSpan(file, source) for source, scan in scans.items() for file in scan.readable]
    input_shards = plan_shards(spans, settings, Path())
    shards = f"{count_of(len(input_shards), 'shard')} of work"
    yield f"{count_of(len(spans), 'file')}, {sum(sizes.values()) / 1e6:,.1f} MB, in {shards}"
    for source, scan in scans.items():
        yield f"source {source}: {count_of(len(scan.readable), 'file')}, {sizes[source] / 1e6:,.1f} MB"
        if scan.passed_over:
            yield describe_passed_over(scan.passed_over)
    for name, source_rules in settings.rules.items():
        yield f"rules for {name}: {', '.join(rule.name for rule in source_rules)}"
    yield f"over all documents: {', '.join(use.name for use in settings.dedup) or 'nothing'}"


def funnel_lines(corpus: Corpus) -> Iterator[str]:
    """The funnel of a corpus that `curate` made, as a table of text."""
    result = corpus.result(CurationResult)
    yield f"{'step':24}{'in':>12}{'dropped':>12}{'alone':>12}"
    for count in result.funnel:
        if count.dropped or count.alone:
            alone = "" if count.alone is None else f"{count.alone:,}"
            yield f"{count.step:24}{count.total:>12,}{count.dropped:>12,}{alone:>12}"
    yield f"{'kept':24}{corpus.result(CorpusSize).documents:>12,}"
    yield from (f"broken: {text}" for text in result.broken_files)


def link_results(corpus: Path, out: Path) -> None:
    """Puts the corpus's folders where a user looks for them: right in the folder named."""
    for name in ("documents", "rejects", "stats"):
        link, target = out / name, corpus / name
        if link.is_symlink():
            link.unlink()
        if target.exists() and not link.exists():
            link.symlink_to(target.relative_to(out), target_is_directory=True)
