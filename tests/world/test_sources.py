"""The world's pages on disk: what curation reads, and beside it the truth that it never reads."""

from __future__ import annotations

from pathlib import Path

from herd.corpus.ground_truth import read_labels
from herd.corpus.reading import read_pages
from herd.corpus.sources import crawl_files
from herd.world.pages import PagesSettings, WorldPages
from herd.world.sources import world_pages
from herd.world.truth import World
from tests.imported import work


def test_every_page_is_read_back_as_it_was_written_and_has_its_label(tmp_path: Path) -> None:
    world = World()
    settings = PagesSettings(documents={"facts": 20, "talk": 9, "long": 5}, near_copies=0.2, spam_pages=0.1)
    made = world_pages.body(work(tmp_path), world=world, settings=settings)
    written = {one.document.id: one for one in WorldPages(world, settings).documents()}
    (span,) = crawl_files(made)
    pages = list(read_pages(span))
    assert len(pages) == len(written)
    for page in pages:
        document = written[page.id].document
        body = page.body.decode() if isinstance(page.body, bytes) else page.body
        assert body == document.text
        assert (page.source, page.url, page.added) == (document.source, document.url, document.added)
    labels = {row["id"]: (row["label"], row["of"]) for row in read_labels(made.path)}
    assert labels == {name: (one.label, one.copy_of) for name, one in written.items()}
    # What is read says nothing of the truth.
    assert not any(word in Path(span.file).read_text(encoding="utf-8") for word in ("near-duplicate", '"label"'))
