"""The audit of curation, on corpora whose losses and leftovers are planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from herd.core.artifacts import Corpus, Crawl
from herd.core.records import Document
from herd.core.storage import write_documents
from herd.corpus.ground_truth import LabelledDocument, write_labels
from herd.world.audit import audit
from herd.world.noise import FOOTER
from tests.imported import work


def page(name: str, text: str = "some text") -> Document:
    return Document(id=name, text=text, source="web", notes={"step": "quality"})


PLANTED = [
    *(LabelledDocument(page(f"clean-{n}"), "clean") for n in range(4)),
    LabelledDocument(page("copy-0"), "near-duplicate", "clean-0"),
    LabelledDocument(page("copy-1"), "near-duplicate", "clean-1"),
    LabelledDocument(page("old-2"), "older capture", "clean-2"),
    LabelledDocument(page("spam-0"), "spam"),
    LabelledDocument(page("spam-1"), "spam"),
]


def audited(folder: Path, kept: list[Document]) -> dict[str, Any]:
    crawl, corpus = folder / "crawl", folder / "corpus"
    crawl.mkdir()
    corpus.mkdir()
    write_labels(crawl, PLANTED)
    names = {one.id for one in kept}
    write_documents(corpus, kept)
    write_documents(corpus, [one.document for one in PLANTED if one.document.id not in names], "rejects")
    made = audit.body(work(folder / "audit"), Corpus(corpus), (Crawl(crawl),))
    return json.loads((made.path / "scores.json").read_text(encoding="utf-8"))


def test_a_perfect_curation_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    found = audited(tmp_path, [page(f"clean-{n}") for n in range(4)])
    assert found["clean"] == {"planted": 4, "lost": 0}
    assert found["near-duplicate"] == {"planted": 2, "left": 0}
    assert found["older capture"] == {"planted": 1, "left": 0}
    assert found["spam"] == {"planted": 2, "left": 0}
    assert found["boilerplate"] == {"pages": 4, "left": 0}
    assert found["agreement"] == 1.0
    assert found["lost_by"] == {}


def test_of_an_original_and_its_copy_either_may_stay_and_both_are_one_too_many(tmp_path: Path) -> None:
    found = audited(tmp_path, [page("copy-0"), page("clean-1"), page("copy-1"), page("old-2")])
    assert found["clean"] == {"planted": 4, "lost": 1}  # clean-3; the texts of 0 and 2 are still there
    assert found["lost_by"] == {"quality": 1}
    assert found["near-duplicate"]["left"] == 1  # copy-1 beside its original
    assert found["older capture"]["left"] == 0
    # One of four clean pages is kept, and no spam: the mean of a quarter and of all.
    assert found["agreement"] == pytest.approx((1 / 4 + 1) / 2)


def test_spam_and_footers_that_stay_are_counted_and_own_files_have_no_labels(tmp_path: Path) -> None:
    kept = [page(f"clean-{n}", f"text {FOOTER[n % 3]} more" if n < 2 else "text") for n in range(4)]
    found = audited(tmp_path, [*kept, page("spam-1"), page("mine", FOOTER[0])])
    assert found["spam"]["left"] == 1
    assert found["boilerplate"] == {"pages": 5, "left": 2}
    assert found["agreement"] == pytest.approx((1 + 1 / 2) / 2)
