"""Curation counts every page once, whatever is wrong with it."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from herd.core.artifacts import Artifact
from herd.core.errors import DataError
from herd.core.registry import Use
from herd.core.runner import run
from herd.core.storage import read_documents
from herd.corpus.dedup import dedups
from herd.corpus.filters import filters
from herd.corpus.sources import files
from herd.corpus.stages import CurateSettings, curate
from herd.pretrain.initial import pretrain
from herd.tokens.stages import pack, train_tokenizer
from tests.corpus.test_reading import warc


def good(number: int) -> str:
    """A page that passes every rule and is like no other."""
    chance = random.Random(number)
    return " ".join(chance.choices("the cat sat with that dog and we have seen of it to be many things".split(), k=80))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def folder(tmp_path: Path, rows: list[object]) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    (made / "a.jsonl").write_text("\n".join(json.dumps(row) if not isinstance(row, str) else row for row in rows))
    return made


def settings(*rules: str, dedup: tuple[Use, ...] = ()) -> CurateSettings:
    return CurateSettings(rules={"default": tuple(filters.use(rule) for rule in rules)}, dedup=dedup)


def test_every_page_is_kept_or_rejected_with_a_reason(tmp_path: Path) -> None:
    rows: list[object] = [{"text": good(n), "id": f"good{n}"} for n in range(5)]
    rows += [{"text": good(0), "id": "copy"}, {"text": "too short", "id": "short"}, {"id": "empty"}, "{broken"]
    source = folder(tmp_path, rows)
    (source / "latin.txt").write_bytes(b"\xff\xfe\xfa")
    (source / "blank.html").write_text("<html><body></body></html>")
    found = curate(
        (files(str(source), source="mine"),), settings=settings("word_count", dedup=(dedups.use("minhash"),))
    )
    made = run(found, tmp_path / "run", jobs=0)
    kept = {one.id for one in read_documents(made.path)}
    rejected = {one.id: one.notes["step"] for one in read_documents(made.path, "rejects")}
    assert len(kept) + len(rejected) == made.figures["pages"] == 11
    assert sorted(rejected.values()) == ["extract", "minhash", "read", "read", "read", "word_count"]
    funnel = made.figures["funnel"]
    assert all(after["in"] == row["in"] - row["dropped"] for row, after in itertools.pairwise(funnel))
    assert all(len(row["examples"]) == min(3, row["dropped"]) for row in funnel)


def test_a_corpus_without_pages_says_where_they_went(tmp_path: Path) -> None:
    source = folder(tmp_path, [{"text": "short"}, {"text": "also short"}])
    found = curate((files(str(source), source="mine"),), settings=settings("word_count"))
    with pytest.raises(DataError, match="the corpus is empty: all 2 pages were dropped, 2 by word_count"):
        run(found, tmp_path / "run", jobs=0)


def test_a_broken_file_stops_the_run_or_counts_to_the_break(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = warc(tmp_path / "in")
    file.write_bytes(file.read_bytes()[:-30])
    stop = CurateSettings(rules={})
    with pytest.raises(DataError, match="breaks off|cannot be read on"):
        run(curate((files(str(file), source="web"),), settings=stop), tmp_path / "run", jobs=0)
    keep = CurateSettings(rules={}, broken_files="keep")
    made = run(curate((files(str(file), source="web"),), settings=keep), tmp_path / "run", jobs=0)
    assert made.figures["documents"] >= 3
    assert len(made.figures["broken_files"]) == 1


def test_less_text_than_one_batch_is_told_before_training(tmp_path: Path) -> None:
    from herd.core.recipe import load_recipe
    from herd.recipes import recipes
    from tests.smoke import SMOKE

    numbers = load_recipe(str(SMOKE), recipes).settings
    source = folder(tmp_path, [{"text": good(0), "source": "web"}])
    corpus = curate((files(str(source), source="web"),), settings=settings())
    vocabulary = train_tokenizer(corpus, pairs=300)
    model = pretrain(pack(corpus, vocabulary), vocabulary, settings=numbers.base)
    with pytest.raises(DataError, match="less than one batch|the mix names"):
        run(model, tmp_path / "run", jobs=0)


@pytest.mark.parametrize("jobs", [0, 2])
def test_the_corpus_does_not_depend_on_workers(jobs: int, tmp_path: Path) -> None:
    source = folder(tmp_path, [{"text": good(n)} for n in range(1000)])
    made: Artifact = run(curate((files(str(source), source="mine"),), settings=settings()), tmp_path / "run", jobs=jobs)
    assert [one.id for one in read_documents(made.path)] == [f"a.jsonl:{n}" for n in range(1, 1001)]
