"""Raw pages to clean documents, with a funnel that tells where every page went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from herd.core.artifacts import Corpus, Crawl
from herd.core.errors import DataError
from herd.core.stage import Work, stage
from herd.corpus.dedup import dedups
from herd.corpus.filters import filters
from herd.corpus.parts import Parts
from herd.corpus.prepare import Shard, Summary, prepare, shards
from herd.corpus.reading import size_of
from herd.corpus.results import CorpusSize, CurationResult, DedupStats, DropExample, FilterCount, SourceSize
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import crawl_files, look_for, passed_over_in_words
from herd.corpus.writing import Counted, Last, finish


@stage(paper="3.1.1", version=4)
def curate(work: Work, crawls: tuple[Crawl, ...], *, settings: CurateSettings) -> Corpus:
    """The documents worth training on: extracted, measured, judged, and each one once."""
    files = [file for crawl in crawls for file in crawl_files(crawl)]
    jobs = shards(files, settings, work.scratch / "shards")
    total, rows = _prepare_all(work, jobs)
    parts = Parts(work.place, work.scratch / "steps", [job.file("parts") for job in jobs], rows)
    dedup: dict[str, DedupStats] = {}
    for number, use in enumerate(settings.dedup):
        work.progress(number, len(settings.dedup), f"{use.name}: {int(parts.alive.sum()):,} documents")
        outcome = dedups.make(use)(parts)
        for dropped in outcome.dropped:
            parts.drop(use.name, dropped)
        dedup[use.name] = DedupStats(outcome.counts, tuple(outcome.samples))
    counted = _write(work, parts, jobs)
    if not counted.documents:
        raise DataError(_nothing_left(total, counted))
    assert total.pages == counted.documents + counted.rejects, "every page is kept or rejected"
    work.record(CorpusSize(counted.documents, total.pages))
    work.record(_result(total, counted, settings, dedup))
    work.headline = f"{counted.documents:,} of {total.pages:,} pages kept"
    return Corpus(work.out)


def _prepare_all(work: Work, jobs: list[Shard]) -> tuple[Summary, list[int]]:
    total, rows = Summary(), []
    for done, summary in enumerate(work.place.map(prepare, jobs), 1):
        total.add(summary)
        rows.append(summary.rows)
        work.progress(done, len(jobs), f"{total.pages:,} pages judged")
    return total, rows


def _write(work: Work, parts: Parts, jobs: list[Shard]) -> Counted:
    """The folder's final files: what is left, and all that was dropped."""
    for name in ("documents", "rejects", "stats"):
        (work.out / name).mkdir()
    lost = _lost(parts)
    todo = [
        Last(part, lost[part.number], shard.file("rejects"), shard.file("stats"), work.out)
        for part, shard in zip(parts.jobs(parts.folder), jobs, strict=True)
    ]
    counted = Counted()
    for one in work.place.map(finish, todo):
        counted.add(one)
    if not any((work.out / "stats").iterdir()):
        (work.out / "stats").rmdir()
    return counted


def _lost(parts: Parts) -> list[list[tuple[str, NDArray[np.int64], list[str]]]]:
    """For every part what steps over all documents dropped of it, and why in words."""
    found: list[list[tuple[str, NDArray[np.int64], list[str]]]] = [[] for _ in parts.starts[1:]]
    for step, dropped in parts.drops:
        kept = dropped.kept if dropped.kept is not None else np.full(len(dropped.rows), -1)
        names = parts.values("id", kept[kept >= 0])
        order = np.argsort(dropped.rows, kind="stable")
        rows, kept = dropped.rows[order], kept[order]
        part_of = np.searchsorted(parts.starts, rows, side="right") - 1
        for number in np.unique(part_of).tolist():
            own = part_of == number
            whys = [dropped.reason.replace("{kept}", names.get(other, "")) for other in kept[own].tolist()]
            found[number].append((step, rows[own] - int(parts.starts[number]), whys))
    return found


def _nothing_left(total: Summary, counted: Counted) -> str:
    broken = f"; {'; '.join(total.broken[:3])}" if total.broken else ""
    if total.pages == 0:
        return f"the corpus is empty: the sources hold no pages{broken}; check what they name"
    dropped = total.dropped + counted.dropped
    steps = ", ".join(f"{count:,} by {step}" for step, count in dropped.most_common(4))
    step = dropped.most_common(1)[0][0]
    first = (total.examples | counted.examples)[step][0]
    return (
        f"the corpus is empty: all {total.pages:,} pages were dropped, {steps} (the first of these: {first['id']}, "
        f"{first['reason']}){broken}; loosen the rules"
    )


def _result(
    total: Summary, counted: Counted, settings: CurateSettings, dedup: Mapping[str, DedupStats]
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


def _funnel(total: Summary, counted: Counted, settings: CurateSettings) -> Iterator[FilterCount]:
    """Step by step: how many documents came in, how many were dropped, how many the step would drop alone, and
    examples."""
    named = [rule.name for rules in settings.rules.values() for rule in rules if rule.kind == filters.kind]
    dropped, examples = total.dropped + counted.dropped, total.examples | counted.examples
    long = ["length"] if dropped["length"] else []
    steps = ["read", "url", "decode", "extract", *long, *dict.fromkeys(named), *(use.name for use in settings.dedup)]
    left = total.pages
    for step in dict.fromkeys(steps):
        alone = total.alone[step] if step in named else None
        looks = tuple(DropExample(**example) for example in examples.get(step, []))
        yield FilterCount(step, left, dropped[step], alone, looks)
        left -= dropped[step]


# ---- the corpus alone ----


def describe_input(patterns: Sequence[str], source: str, settings: CurateSettings) -> Iterator[str]:
    """What a run would read and do, a line each."""
    found = look_for(patterns, source=source)
    work = shards([(file, source) for file in found.readable], settings, Path())
    size = sum(size_of(file) for file in found.readable)
    yield f"{len(found.readable):,} files, {size / 1e6:,.1f} MB, in {len(work):,} shards of work"
    if found.passed_over:
        yield passed_over_in_words(found.passed_over)
    for name, listed in settings.rules.items():
        yield f"rules for {name}: {', '.join(rule.name for rule in listed)}"
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
