"""Raw pages to clean documents, with a funnel that tells where every page went."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Annotated, Any, Literal

import numpy as np

from herd.core.artifacts import Corpus, Crawl, Scores
from herd.core.errors import DataError
from herd.core.records import Document, Drop
from herd.core.registry import Use
from herd.core.settings import settings
from herd.core.stage import Work, stage
from herd.core.storage import read_documents, write_documents
from herd.corpus.dedup import dedups
from herd.corpus.extract import decode, main_text
from herd.corpus.filters import filters
from herd.corpus.reading import Page, read_pages
from herd.corpus.sources import crawl_files, read_labels
from herd.corpus.stats import measure
from herd.world.noise import FOOTER

_SHARD = 400  # pages a worker is given at once
_EXAMPLES = 3
_EXAMPLE_CHARACTERS = 300

Filter = Annotated[Use, filters.choice]
Dedup = Annotated[Use, dedups.choice]


@settings
class CurateSettings:
    """Which rules judge which source, and how copies are found.

    rules: filters in order, by source; `default` is for sources not named. dedup: ways to find copies, in
    order, over all sources together. broken_files: whether a file that breaks off stops the run or counts
    up to the break.
    """

    rules: dict[str, tuple[Filter, ...]]
    dedup: tuple[Dedup, ...] = ()
    broken_files: Literal["stop", "keep"] = "stop"


@dataclass(frozen=True)
class Rejected:
    """A document that was dropped: by which step, and why."""

    document: Document
    step: str
    reason: str


@stage(paper="3.1.1", version=1)
def curate(work: Work, crawls: tuple[Crawl, ...], *, settings: CurateSettings) -> Corpus:
    """The documents worth training on: extracted, measured, judged, and each one once."""
    kept: list[Document] = []
    rejected: list[Rejected] = []
    broken: list[str] = []
    pages = _pages(crawls, settings.broken_files, broken)
    shards = ((shard, settings.rules) for shard in _shards(pages))
    for good, bad in work.place.map(judge, shards):
        kept += good
        rejected += bad
        work.progress(len(kept) + len(rejected), 0, f"{len(kept) + len(rejected):,} pages judged")
    pages_in = len(kept) + len(rejected)
    for use in settings.dedup:
        kept, copies = _without_copies(kept, use)
        rejected += copies
    if not kept:
        raise DataError(_nothing_left(pages_in, rejected))
    write_documents(work.out, kept)
    write_documents(work.out, map(_as_document, rejected), "rejects")
    _figures(work, pages_in, kept, rejected, settings, broken)
    return Corpus(work.out)


def judge(job: tuple[Sequence[Page], dict[str, tuple[Use, ...]]]) -> tuple[list[Document], list[Rejected]]:
    """The documents of a shard of pages that pass every rule of their source, and the others with reasons."""
    pages, rules = job
    documents, rejected = [], []
    for page in pages:
        outcome = to_document(page)
        (documents if isinstance(outcome, Document) else rejected).append(outcome)
    documents.sort(key=lambda document: document.source)
    kept: list[Document] = []
    for source, group in groupby(documents, key=lambda document: document.source):
        good, bad = _apply(list(group), rules.get(source, rules.get("default", ())))
        kept += good
        rejected += bad
    return kept, rejected


def to_document(page: Page) -> Document | Rejected:
    """The page's text as a document, or why there is none."""
    document = Document(id=page.id, text="", source=page.source, url=page.url, added=page.added)
    if page.fault:
        return Rejected(document, "read", page.fault)
    text: str | None = page.body if isinstance(page.body, str) else decode(page.body, page.charset)
    if text is None:
        return Rejected(document, "decode", "its bytes are text in no encoding that was tried")
    if isinstance(page.body, bytes):
        text = main_text(text)
    # A lone surrogate cannot be written as UTF-8.
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    return document.with_text(text) if text.strip() else Rejected(document, "extract", "no text on the page")


def _apply(documents: list[Document], rules: Sequence[Use]) -> tuple[list[Document], list[Rejected]]:
    """Documents that pass the rules; the first rule that drops one is the reason."""
    stats = measure([document.text for document in documents])
    reasons = np.full(len(documents), "", dtype=object)
    for rule in rules:
        drops = filters.make(rule)(stats)
        reasons[drops & (reasons == "")] = rule.name
    kept, rejected = [], []
    for document, reason, language in zip(documents, reasons, stats.language.tolist(), strict=True):
        document = replace(document, language=language)
        if reason:
            rejected.append(Rejected(document, reason, f"rule {reason}"))
        else:
            kept.append(document)
    return kept, rejected


def _without_copies(documents: list[Document], use: Use) -> tuple[list[Document], list[Rejected]]:
    if not documents:
        return [], []
    kept, copies = [], []
    for document, verdict in zip(documents, dedups.make(use)(documents), strict=True):
        if isinstance(verdict, Drop):
            copies.append(Rejected(document, use.name, verdict.reason))
        else:
            kept.append(document)
    return kept, copies


def _pages(crawls: Sequence[Crawl], broken_files: str, broken: list[str]) -> Iterator[Page]:
    for crawl in crawls:
        for file, source in crawl_files(crawl):
            try:
                yield from read_pages(file, source)
            except DataError as fault:
                if broken_files == "stop":
                    raise
                broken.append(str(fault))


def _shards(pages: Iterator[Page]) -> Iterator[list[Page]]:
    while shard := list(islice(pages, _SHARD)):
        yield shard


def _as_document(rejected: Rejected) -> Document:
    return replace(rejected.document, notes={"step": rejected.step, "reason": rejected.reason})


def _nothing_left(pages_in: int, rejected: Sequence[Rejected]) -> str:
    if pages_in == 0:
        return "the corpus is empty: the sources hold no pages; check what they name"
    counts = Counter(f"{one.step} ({one.reason})" if one.step in ("read", "decode") else one.step for one in rejected)
    steps = ", ".join(f"{count:,} by {step}" for step, count in counts.most_common(4))
    first = rejected[0].document.id
    return f"the corpus is empty: all {pages_in:,} pages were dropped, {steps} (the first: {first}); loosen the rules"


def _figures(
    work: Work,
    pages_in: int,
    kept: Sequence[Document],
    rejected: Sequence[Rejected],
    settings: CurateSettings,
    broken: list[str],
) -> None:
    assert pages_in == len(kept) + len(rejected), "every page is kept or rejected"
    work.figure("pages", pages_in)
    work.figure("documents", len(kept))
    work.figure("characters", sum(len(document.text) for document in kept))
    work.figure("funnel", _funnel(pages_in, rejected, settings))
    work.figure("kept", _by_source(kept))
    work.figure("languages", dict(Counter(document.language for document in kept).most_common()))
    work.figure("broken_files", broken)
    work.figure("headline", f"{len(kept):,} of {pages_in:,} pages kept")


def _funnel(pages_in: int, rejected: Sequence[Rejected], settings: CurateSettings) -> list[dict[str, Any]]:
    """Step by step: how many documents came in, how many were dropped, and examples of those."""
    named = [rule.name for rules in settings.rules.values() for rule in rules]
    steps = ["read", "decode", "extract", *dict.fromkeys(named), *(use.name for use in settings.dedup)]
    funnel, left = [], pages_in
    for step in steps:
        dropped = [one for one in rejected if one.step == step]
        examples = [
            {"id": one.document.id, "reason": one.reason, "text": one.document.text[:_EXAMPLE_CHARACTERS]}
            for one in dropped[:_EXAMPLES]
        ]
        funnel.append({"step": step, "in": left, "dropped": len(dropped), "examples": examples})
        left -= len(dropped)
    return funnel


def _by_source(documents: Sequence[Document]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for document in documents:
        entry = counts.setdefault(document.source, {"documents": 0, "characters": 0})
        entry["documents"] += 1
        entry["characters"] += len(document.text)
    return dict(sorted(counts.items()))


@stage(paper="-", version=1)
def audit(work: Work, corpus: Corpus, crawls: tuple[Crawl, ...]) -> Scores:
    """How far curation found what was planted in `crawls`: copies, spam and boilerplate left, clean pages lost.

    Judged by the labels that makers of sources keep beside their files and curation never reads.
    """
    labels = {row["id"]: row for crawl in crawls for row in read_labels(crawl.path)}
    kept: set[str] = set()
    framed = 0
    for document in read_documents(corpus.path):
        kept.add(document.id)
        framed += document.id in labels and any(sentence in document.text for sentence in FOOTER)
    steps = {document.id: document.notes["step"] for document in read_documents(corpus.path, "rejects")}
    clean = [name for name, row in labels.items() if row["label"] == "clean"]
    # Of an original and its copy either may stay: the text is still there.
    saved = {row["of"] for name, row in labels.items() if row.get("of") and name in kept}
    lost = [name for name in clean if name not in kept and name not in saved]
    scores: dict[str, Any] = {
        "clean": {"planted": len(clean), "lost": len(lost)},
        "boilerplate": {"pages": len(kept & labels.keys()), "left": framed},
        "lost_by": dict(Counter(steps.get(name, "unknown") for name in lost)),
    }
    for label in ("near-duplicate", "older capture", "spam"):
        planted = [name for name, row in labels.items() if row["label"] == label]
        left = [n for n in planted if n in kept and (label == "spam" or labels[n]["of"] in kept)]
        scores[label] = {"planted": len(planted), "left": len(left)}
    (work.out / "scores.json").write_text(json.dumps(scores, indent=1), encoding="utf-8")
    work.figure("scores", scores)
    copies = scores["near-duplicate"]
    work.figure("headline", f"{copies['left']} of {copies['planted']} copies left, {len(lost)} clean pages lost")
    return Scores(work.out)
