"""Pages of a documentation as a web site serves them: the same on every machine, with what is planted among them."""

from __future__ import annotations

import platform
import sys
import venv
from collections import Counter
from pathlib import Path

import pytest

from herd.core.errors import DataError
from herd.corpus.ground_truth import read_labels
from herd.corpus.reading import FileSpan, read_pages
from herd.corpus.sources import crawl_files
from herd.world import python_docs as module
from herd.world.noise import FOOTER, NAVIGATION
from herd.world.python_docs import PythonDocsSettings, python_docs
from tests.imported import work

WHOLE = module._RENDER
# In the place of all of the standard library, for which rendering takes some seconds.
SOME = """
import json
words = "module that gives several functions whose results depend on their arguments alone " * 20
for name in ("abc", "json", "os", "re"):
    print(json.dumps([name, f"<p>The {name} {words}</p>"]))
print(json.dumps(["", 4]))
"""


@pytest.fixture(autouse=True)
def four_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RENDER", SOME)


def test_what_is_planted_is_counted_and_points_at_its_original(tmp_path: Path) -> None:
    settings = PythonDocsSettings(mirrors=3, older=2, spam=5)
    made = python_docs.body(work(tmp_path), settings=settings)
    (span,) = crawl_files(made)
    pages = {page.id: page for page in read_pages(span)}
    labels = {row["id"]: row for row in read_labels(made.path)}
    assert pages.keys() == labels.keys()
    counts = Counter(row["label"] for row in labels.values())
    assert counts == {"clean": 4, "near-duplicate": 3, "older capture": 2, "spam": 5}
    for name, row in labels.items():
        if row["label"] == "near-duplicate":
            assert pages[name].url.rpartition("/")[2] == pages[row["of"]].url.rpartition("/")[2]
            assert pages[name].url != pages[row["of"]].url
        if row["label"] == "older capture":
            assert pages[name].url == pages[row["of"]].url
            assert pages[name].added < pages[row["of"]].added
        if row["of"]:
            assert pages[name].body != pages[row["of"]].body


def test_the_file_is_the_same_again_and_another_with_another_seed(tmp_path: Path) -> None:
    settings = [PythonDocsSettings(mirrors=2, older=1, spam=1, seed=seed) for seed in (0, 0, 1)]
    once, again, other = (
        (python_docs.body(work(tmp_path / str(n)), settings=one).path / "python.warc.gz").read_bytes()
        for n, one in enumerate(settings)
    )
    assert once == again
    assert once != other


def test_more_copies_than_there_are_pages_are_one_of_each(tmp_path: Path) -> None:
    made = python_docs.body(work(tmp_path), settings=PythonDocsSettings(mirrors=99, older=99, spam=0))
    counts = Counter(row["label"] for row in read_labels(made.path))
    assert counts == {"clean": 4, "near-duplicate": 4, "older capture": 4}


def test_the_pages_are_the_same_wherever_python_and_the_checkout_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RENDER", WHOLE)
    crawls: list[Path] = []
    for folder in ("short", "/".join(["a folder of a much longer name"] * 4)):
        place = tmp_path / folder
        venv.create(place / "venv", symlinks=True, with_pip=False)
        monkeypatch.chdir(place)
        monkeypatch.setenv("HOME", str(place))
        monkeypatch.setattr(sys, "executable", str(place / "venv" / "bin" / "python"))
        if crawls:
            (place / "random.py").write_text('"""No part of the library."""', encoding="utf-8")
        settings = PythonDocsSettings(mirrors=2, older=1, spam=1)
        crawls.append(python_docs.body(work(tmp_path / str(len(crawls))), settings=settings).path / "python.warc.gz")
    text = {page.id: page.body for page in read_pages(FileSpan(str(crawls[0]), "web"))}
    assert len(text) > 150
    # A data section holds this machine's values: the time zone in `time`, the OpenSSL in `ssl`, the prefix in `sys`.
    local = (str(tmp_path).encode(), b'href="file:', b"PYTHONHASHSEED", b">Data<")
    assert not [page for page, body in text.items() if any(words in body for words in local)]
    assert crawls[0].read_bytes() == crawls[1].read_bytes()


def test_what_differs_from_process_to_process_is_taken_out() -> None:
    body = "<function f at 0x7f3a5c> handle 7f00aa11"
    text = module._page("os", body).text
    assert "at 0x0>" in text
    assert "handle 0" in text
    assert module._page("os", body.replace("7f3a5c", "123456")).text == text


def test_a_page_stands_in_a_site_and_its_title_is_text() -> None:
    page = module._page("a<b>", "<p>Hi.</p>")
    assert "<title>a&lt;b&gt;</title>" in page.text
    assert "<main><p>Hi.</p></main>" in page.text
    assert all(one in page.text for one in (*NAVIGATION, *FOOTER))
    assert page.id != module._page("b", "<p>Hi.</p>").id


def test_the_documentation_of_another_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"of Python 2\.7 was asked for, this is {platform.python_version()}"):
        python_docs.body(work(tmp_path), settings=PythonDocsSettings(python="2.7"))
