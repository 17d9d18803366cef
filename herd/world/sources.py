"""The world's pages as a source of raw text."""

from __future__ import annotations

from typing import Any

from herd.core.artifacts import Crawl
from herd.core.stage import Work, stage
from herd.core.storage import write_lines
from herd.corpus.ground_truth import LabelledDocument, write_labels
from herd.corpus.results import CrawlPages
from herd.corpus.sources import write_crawl
from herd.world.pages import PagesSettings, WorldPages
from herd.world.truth import World


@stage(paper="3.1", version=4)
def world_pages(work: Work, *, world: World, settings: PagesSettings) -> Crawl:
    """What is written about the small world, copies and spam among it, as JSON lines."""
    pages = list(WorldPages(world, settings).documents())
    write_lines(work.out / "world.jsonl", (_row(page) for page in pages))
    write_labels(work.out, pages)
    work.record(CrawlPages(len(pages)))
    work.headline = f"{len(pages):,} pages about a world of {len(world.everybody.group_of):,} people"
    return write_crawl(work.out, [("world.jsonl", "world")])


def _row(page: LabelledDocument) -> dict[str, Any]:
    document = page.document
    return {name: getattr(document, name) for name in ("id", "text", "source", "url", "added")}
