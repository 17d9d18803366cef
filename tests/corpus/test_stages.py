"""The stage of curation: what steps over all documents drop is told with who stays, and what is left where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from herd.core.errors import DataError, SettingsError
from herd.core.records import Document
from herd.core.storage import read_documents
from herd.corpus.dedup import dedups
from herd.corpus.filters import filters
from herd.corpus.settings import CurateSettings
from herd.corpus.shards import Removal
from herd.corpus.sources import files
from herd.corpus.stages import _removals_by_shard, curate, describe_input, link_results
from herd.run.progress import display
from herd.run.runner import run_stages
from tests.corpus.builders import document_shards
from tests.corpus.test_curate import folder, good, settings


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_CACHE", str(tmp_path / "cache"))


def test_a_corpus_without_pages_says_where_they_went(tmp_path: Path) -> None:
    source = folder(tmp_path, [{"text": "short"}, {"text": "also short"}])
    found = curate((files(str(source), source="mine"),), settings=settings("word_count"))
    with pytest.raises(DataError, match="the corpus is empty: all 2 pages were dropped, 2 by word_count"):
        run_stages(found, tmp_path / "run", jobs=0)


def losses(tmp_path: Path, capsys: pytest.CaptureFixture[str], **sources: Path) -> str:
    """What is said beside the corpus that is made of `sources` by the rule `word_count`."""
    plan = curate(
        tuple(files(str(path), source=source) for source, path in sources.items()), settings=settings("word_count")
    )
    run_stages(plan, tmp_path / "run", jobs=0, display=display())
    return "".join(capsys.readouterr())


def test_a_source_of_which_nothing_stays_is_told_with_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder(tmp_path, [{"text": good(0)}])
    (tmp_path / "wiki.txt").write_text("An article.")
    said = losses(tmp_path, capsys, mine=source, wiki=tmp_path / "wiki.txt")
    assert "source wiki: none of its 1 page is kept, 1 by word_count (the first: " in said
    assert "wiki.txt, word_count 2, below 50); a text file is one page" in said
    assert "source mine:" not in said


def test_lines_that_are_no_json_are_counted_with_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder(tmp_path, [{"text": good(0)}, "{broken", {"text": good(1)}, "{again", "7"])
    said = losses(tmp_path, capsys, mine=source)
    assert "2 rows are not JSON and left out, of 5 pages; the first is a.jsonl:2" in said
    assert "1 row is not a JSON object and left out, of 5 pages; the first is a.jsonl:5" in said


def test_rows_without_a_text_are_cured_by_the_column_and_not_by_the_rules(tmp_path: Path) -> None:
    source = folder(tmp_path, [{"text": None}, {"text": None, "body": "words"}])
    found = curate((files(str(source), source="mine"),), settings=settings())
    with pytest.raises(DataError, match="all 2 pages were dropped, 2 by read .*; name the column .*--text-column NAME"):
        run_stages(found, tmp_path / "run", jobs=0)
    with pytest.raises(SettingsError, match=r"the first rows of b\.jsonl have no text"):
        (tmp_path / "b.jsonl").write_text('{"body": "words"}')
        files(str(tmp_path / "b.jsonl"), source="mine")


def test_no_pages_at_all_are_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n")
    found = curate((files(str(tmp_path / "a.jsonl"), source="mine"),), settings=settings())
    with pytest.raises(DataError, match="the sources hold no pages; check what they name"):
        run_stages(found, tmp_path / "run", jobs=0)


def test_documents_dropped_beside_others_say_beside_which(tmp_path: Path) -> None:
    held = document_shards(tmp_path, [Document(id=f"d{n}", text="t", source="s") for n in range(6)], files=3)
    held.drop("first", Removal(np.array([5, 1]), "the same as {kept}", np.array([0, 4])))
    held.drop("second", Removal(np.array([2, 3]), "an outlier"))
    held.drop("third", Removal(np.array([0]), "like {kept}, or none", np.array([-1])))
    found = [[(step, rows.tolist(), whys) for step, rows, whys in part] for part in _removals_by_shard(held)]
    assert found == [
        [("first", [1], ["the same as d4"]), ("third", [0], ["like , or none"])],
        [("second", [0, 1], ["an outlier", "an outlier"])],
        [("first", [1], ["the same as d0"])],
    ]


def test_a_copy_names_the_document_that_stays(tmp_path: Path) -> None:
    rows = [{"text": good(n), "id": f"d{n}"} for n in range(3)] + [{"text": good(1), "id": "copy"}]
    source = folder(tmp_path, rows)
    plan = curate((files(str(source), source="mine"),), settings=settings(dedup=(dedups.configure("minhash"),)))
    made = run_stages(plan, tmp_path / "run", jobs=0)
    (lost,) = read_documents(made.path, "rejects")
    stays = {one.id for one in read_documents(made.path)}
    assert {lost.id, *stays} == {"d0", "d1", "d2", "copy"}
    assert ({"d1", "copy"} - {lost.id}).pop() in lost.notes["reason"]
    assert lost.notes["step"] == "minhash"


def test_a_dry_run_says_what_would_be_read_and_done(tmp_path: Path) -> None:
    source = folder(tmp_path, [{"text": good(0)}])
    (source / "b.docx").write_bytes(b"x")
    rules = CurateSettings(
        rules={"default": (filters.configure("word_count"), filters.configure("symbols")), "web": ()},
        dedup=(dedups.configure("minhash"), dedups.configure("frequent_lines")),
    )
    assert list(describe_input({"mine": [str(source)]}, rules)) == [
        "1 file, 0.0 MB, in 1 shard of work",
        "source mine: 1 file, 0.0 MB",
        "1 files passed over, whose endings nobody reads: 1 .docx",
        "rules for default: word_count, symbols",
        "rules for web: ",
        "over all documents: minhash, frequent_lines",
    ]
    assert list(describe_input({"mine": [str(source / "a.jsonl")]}, CurateSettings(rules={})))[2:] == [
        "over all documents: nothing"
    ]
    assert not (tmp_path / "cache").exists()  # nothing was worked on


def test_a_corpus_is_linked_where_it_was_asked_for_and_links_follow_it(tmp_path: Path) -> None:
    first, second = tmp_path / "artifacts" / "one", tmp_path / "artifacts" / "two"
    for corpus in (first, second):
        for name in ("documents", "rejects", "stats")[: 3 if corpus is first else 2]:
            (corpus / name).mkdir(parents=True)
            (corpus / name / "00000.parquet").write_text(f"{corpus.name} {name}")
    link_results(first, tmp_path)
    assert (tmp_path / "stats" / "00000.parquet").read_text() == "one stats"
    link_results(second, tmp_path)
    assert (tmp_path / "documents" / "00000.parquet").read_text() == "two documents"
    assert not (tmp_path / "stats").is_symlink()  # the new one keeps none
    tmp_path.rename(tmp_path.with_name("moved"))
    assert (tmp_path.with_name("moved") / "rejects" / "00000.parquet").read_text() == "two rejects"
    tmp_path.with_name("moved").rename(tmp_path)


def test_a_folder_of_the_users_own_is_not_replaced_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "one" / "documents").mkdir(parents=True)
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "mine.txt").write_text("mine")
    link_results(tmp_path / "artifacts" / "one", tmp_path)
    assert not (tmp_path / "documents").is_symlink()
    assert (tmp_path / "documents" / "mine.txt").read_text() == "mine"
