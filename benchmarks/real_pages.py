"""Real pages that the curation benchmarks read: a documentation crawl, articles, and pages in many languages."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from herd.corpus.extract import ExtractSettings, decode, extract
from herd.corpus.pages import Page
from herd.corpus.reading import FileSpan, read_pages


class RealPages:
    """data: the folder with warc_docs, web_article_extraction and web_trafilatura_eval."""

    def __init__(self, data: Path) -> None:
        self.data = data

    def articles(self) -> tuple[list[bytes], list[str]]:
        """Pages and the text a human took from them."""
        truth = json.loads((self.data / "web_article_extraction" / "ground-truth.json").read_text(encoding="utf-8"))
        html = self.data / "web_article_extraction" / "html"
        pages = [decode(gzip.decompress((html / f"{name}.html.gz").read_bytes())) or b"" for name in truth]
        return pages, [row["articleBody"] for row in truth.values()]

    def evaluated(self) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
        """Pages by file name, and segments that must and must not be in their text."""
        folder = self.data / "web_trafilatura_eval"
        rows = json.loads((folder / "evaldata.json").read_text(encoding="utf-8")).values()
        with tarfile.open(folder / "pages.tar.xz") as archive:
            files = [(Path(m.name).name, archive.extractfile(m)) for m in archive.getmembers() if m.isfile()]
            pages = {name: decode(file.read()) or b"" for name, file in files if file}
        return pages, [row for row in rows if row["file"] in pages]

    def documentation(self) -> Iterator[Page]:
        """Manuals of programs and libraries, as a crawler stored them."""
        yield from read_pages(FileSpan(str(self.data / "warc_docs" / "docs.warc.gz"), "web"))

    def crawl(self) -> Iterator[Page]:
        """All real pages: a documentation crawl, articles, and pages in many languages."""
        yield from self.documentation()
        others = [*self.articles()[0], *self.evaluated()[0].values()]
        for number, body in enumerate(others):
            yield Page(
                f"<urn:uuid:{number:032x}>", "web", body, f"https://site{number}.example.org/", "2024-01-01", "utf-8"
            )

    def texts(self) -> list[str]:
        """Main texts of these pages."""
        bodies = [decode(page.body, page.charset) or b"" for page in self.crawl() if not page.fault]
        return [text for text in extract(bodies, ExtractSettings()).text.to_pylist() if text]
