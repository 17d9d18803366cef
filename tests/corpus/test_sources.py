"""The packaged sources: the same pages every time, labels that are true, and text that is really there."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from herd.core.artifacts import Artifact
from herd.core.cache import fetch_package
from herd.core.errors import DataError, SettingsError
from herd.core.stage import plan_of
from herd.corpus.columns import TextColumns
from herd.corpus.ground_truth import read_labels
from herd.corpus.reading import read_pages
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import crawl_files, crawls_of, find_files, planned_text_tokens, text_tokens
from herd.corpus.stages import curate
from herd.run.runner import run_stages
from herd.world.python_docs import PythonDocsSettings, python_docs


def crawl(folder: Path) -> Artifact:
    settings = PythonDocsSettings(mirrors=4, older=2, spam=2)
    return run_stages(python_docs(settings=settings), folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return crawl(tmp_path_factory.mktemp("crawl"))


def test_the_crawl_is_a_warc_whose_labels_fit_its_pages(made: Artifact) -> None:
    (span,) = crawl_files(made)  # type: ignore[arg-type]
    pages = {page.id: page for page in read_pages(span)}
    labels = {row["id"]: row for row in read_labels(made.path)}
    assert set(pages) == set(labels)
    counts = [row["label"] for row in labels.values()]
    assert (counts.count("near-duplicate"), counts.count("older capture"), counts.count("spam")) == (4, 2, 2)
    assert counts.count("clean") > 100
    for row in labels.values():
        if row["label"] == "older capture":
            assert pages[row["id"]].url == pages[row["of"]].url
            assert pages[row["id"]].added < pages[row["of"]].added


def test_the_crawl_is_the_same_again(made: Artifact, tmp_path: Path) -> None:
    name = "python.warc.gz"
    assert crawl(tmp_path).metadata["files"][name] == made.metadata["files"][name]


def test_another_pythons_documentation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"of Python 2\.7 was asked for"):
        run_stages(python_docs(settings=PythonDocsSettings(python="2.7")), tmp_path)


def test_a_package_that_is_not_the_pinned_one_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path))
    kept = tmp_path / "packages" / "thing-1.0.whl"
    kept.parent.mkdir()
    kept.write_bytes(b"something else")
    with pytest.raises(DataError, match="sha256 differs"):
        fetch_package("thing", "1.0", "0" * 64)
    assert not kept.exists()


def test_a_package_that_cannot_be_fetched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DataError, match="could not be fetched with pip"):
        fetch_package("no-such-package-of-herd", "1.0", "0" * 64)


def test_columns_are_of_a_source_or_of_all_and_of_one_that_is_there(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"content": "x", "other": "y", "text": "z"}')
    patterns = {name: [str(tmp_path / f"{name}.jsonl")] for name in ("a", "b")}
    content, other = TextColumns(text="content"), TextColumns(text="other")
    found = crawls_of(patterns, {"default": content, "b": other})
    assert [plan_of(crawl).settings["columns"]["text"] for crawl in found] == ["content", "other"]
    assert [plan_of(crawl).settings["columns"]["text"] for crawl in crawls_of(patterns)] == ["text", "text"]
    with pytest.raises(SettingsError, match="names the source 'c', which has no files"):
        crawls_of(patterns, {"c": content})


def test_text_is_counted_by_its_bytes_and_packed_files_for_more(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 4000)
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"x" * 400, 0))
    fsspec = pytest.importorskip("fsspec", reason="the package for addresses is not installed")
    fsspec.filesystem("memory").pipe({"/far/c.txt": b"x" * 8000, "/far/d.jsonl.gz": b"x" * 400})
    assert text_tokens(find_files([str(tmp_path / "a.txt"), "memory://far"], source="a")) == 1000 + 2000 + 300
    packed = text_tokens([str(tmp_path / "b.txt.gz")])
    assert packed == pytest.approx((tmp_path / "b.txt.gz").stat().st_size * 3 / 4)


def test_a_planned_corpus_says_about_how_much_text_it_is_of(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 4000)
    (tmp_path / "odd\udcff.txt").write_bytes(b"x" * 8000)  # a name that is not UTF-8
    corpus = curate(
        crawls_of({"a": [str(tmp_path / "a.txt")], "odd": [str(tmp_path / "odd*")]}), settings=CurateSettings(rules={})
    )
    assert planned_text_tokens(corpus) == 3000
    (tmp_path / "a.txt").unlink()
    assert planned_text_tokens(corpus) is None
    assert (
        planned_text_tokens(curate((python_docs(settings=PythonDocsSettings()),), settings=CurateSettings(rules={})))
        is None
    )  # no files of the user's own
