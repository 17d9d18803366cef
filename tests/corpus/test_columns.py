"""Columns of others: what holds what in rows of well-known sets, and what documents keep of their rows."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import SettingsError
from herd.core.records import Document
from herd.core.settings import build, settings
from herd.core.storage import read_documents
from herd.corpus.columns import (
    ANY_TABLE,
    AS_ROWS_SAY,
    LEFT_OUT,
    MAX_NOTES,
    NOTE_CHARACTERS,
    TEXT_SETS,
    TOO_LONG,
    ColumnsOrName,
    TextColumns,
    column_value,
    describe_columns,
    row_notes,
)
from herd.corpus.settings import CurateSettings
from herd.corpus.sources import files
from herd.corpus.stages import curate
from herd.run.runner import run_stages

SENTENCE = "The miller took the long road home and counted the stones on his way."


def notes(row: dict[str, Any], columns: TextColumns = ANY_TABLE, **options: int) -> Any:
    text = row_notes(row, columns, **options)
    return json.loads(text) if text else {}


# ---- what documents keep ----


def test_other_columns_are_kept_and_those_with_a_use_are_not() -> None:
    row = {"text": "a", "id": "1", "url": "u", "license": "MIT", "stars": 3, "meta": {"a": [1]}, "none": None}
    assert notes(row) == {"license": "MIT", "stars": 3, "meta": {"a": [1]}}
    assert notes(row, TextColumns(keep=("stars",))) == {"stars": 3}
    assert notes(row, TextColumns(keep=())) == {}
    assert notes({"content": "a", "text": "b"}, TextColumns(text="content")) == {"text": "b"}
    assert notes({"meta": {"id": 1, "more": 2}}, TextColumns(id="meta.id")) == {"meta": {"more": 2}}


def test_values_that_are_too_long_too_many_or_no_json_are_counted() -> None:
    row: dict[str, Any] = {"bytes": b"\x00", "cell": TOO_LONG, "a": 2, "x" * 999: 1}
    row["long"] = "x" * (NOTE_CHARACTERS + 1)
    assert notes(row, left_out=3) == {"a": 2, LEFT_OUT: 7}
    many = {f"c{number}": number for number in range(MAX_NOTES + 5)}
    assert len(notes(many)) == MAX_NOTES + 1
    assert notes(many)[LEFT_OUT] == 5
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert notes({"deep": deep}) == {LEFT_OUT: 1}
    while isinstance(deep, list):  # taken apart before it is forgotten, which Python does by recursion
        deep = deep[0]


def test_dates_and_exact_numbers_are_text() -> None:
    row = {"day": datetime.date(2024, 3, 1), "price": decimal.Decimal("1.50")}
    assert notes(row) == {"day": "2024-03-01", "price": "1.50"}


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists)))
def test_notes_are_json_of_a_bounded_size(row: dict[str, Any]) -> None:
    kept = notes(row)
    assert len(kept) <= MAX_NOTES + 1
    assert all(kept[name] == value for name, value in row.items() if name in kept and name != LEFT_OUT)


def test_inner_columns_are_found_and_a_name_with_a_dot_comes_first() -> None:
    assert column_value({"a": {"b": 1}}, "a.b") == 1
    assert column_value({"a": {"b": 1}, "a.b": 2}, "a.b") == 2
    assert column_value({"a": 1}, "a.b") is None
    assert column_value({}, "a") is None
    assert describe_columns([]) == "none"
    assert describe_columns(range(20)).endswith("10, 11 and 8 more")


# ---- well-known sets: rows of their shapes, written by hand ----

ROWS: dict[str, list[dict[str, Any]]] = {
    "fineweb": [
        {
            "text": SENTENCE,
            "id": "<urn:uuid:00000000-0000-0000-0000-000000000001>",
            "dump": "CC-MAIN-2024-10",
            "url": "https://a.example/1",
            "date": "2024-02-21T05:10:11Z",
            "file_path": "s3://bucket/a.warc.gz",
            "language": "en",
            "language_score": 0.97,
            "token_count": 14,
        }
    ],
    "dclm": [
        {
            "bff_contained_ngram_count_before_dedupe": 3,
            "language_id_whole_page_fasttext": {"en": 0.96},
            "metadata": {
                "Content-Length": "1234",
                "WARC-Date": "2019-05-19T14:40:01Z",
                "WARC-Record-ID": "<urn:uuid:00000000-0000-0000-0000-000000000002>",
                "WARC-Target-URI": "https://b.example/2",
            },
            "previous_word_count": 20,
            "text": SENTENCE,
            "url": "https://b.example/2",
            "warcinfo": "robots: classic",
            "fasttext_openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train_prob": 0.4,
        }
    ],
    "dolma": [
        {
            "id": "3",
            "text": SENTENCE,
            "source": "common-crawl",
            "added": "2023-04-11T09:57:03.044571+00:00",
            "created": "2020-03-29T09:04:10Z",
            "metadata": {"url": "https://c.example/3", "length": 69},
        }
    ],
    "c4": [{"text": SENTENCE, "timestamp": "2019-04-25T12:57:54Z", "url": "https://d.example/4"}],
    "the_stack": [
        {
            "hexsha": "5" * 40,
            "size": 69,
            "ext": "py",
            "lang": "Python",
            "max_stars_repo_name": "someone/something",
            "content": f"# {SENTENCE}\n",
            "avg_line_length": 70.0,
        }
    ],
}
WANTED = {
    "fineweb": ("<urn:uuid:00000000-0000-0000-0000-000000000001>", "https://a.example/1", "2024-02-21"),
    "dclm": ("<urn:uuid:00000000-0000-0000-0000-000000000002>", "https://b.example/2", "2019-05-19"),
    "dolma": ("3", "https://c.example/3", "2023-04-11"),
    "c4": ("rows.jsonl:1", "https://d.example/4", "2019-04-25"),
    "the_stack": ("5" * 40, "", ""),
}
KEPT = {
    "fineweb": {"dump": "CC-MAIN-2024-10", "language": "en", "language_score": 0.97, "token_count": 14},
    "dclm": {"warcinfo": "robots: classic", "language_id_whole_page_fasttext": {"en": 0.96}},
    "dolma": {"source": "common-crawl", "created": "2020-03-29T09:04:10Z"},
    "c4": {},
    "the_stack": {"lang": "Python", "max_stars_repo_name": "someone/something"},
}


def written(folder: Path, rows: list[dict[str, Any]], kind: str) -> Path:
    file = folder / f"rows.{kind}"
    if kind == "jsonl":
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return file
    table = arrow.Table.from_pylist(rows)
    if kind == "parquet":
        import pyarrow.parquet as parquet

        parquet.write_table(table, file)
        return file
    with arrow.OSFile(str(file), "wb") as sink, arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return file


def curated(file: Path, folder: Path, columns: TextColumns) -> list[Document]:
    settings = build(CurateSettings, {"rules": {"default": []}}, where="x")
    plan = curate((files(str(file), source="named", columns=columns),), settings=settings)
    return list(read_documents(run_stages(plan, folder / "run", jobs=0).path))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("name", sorted(TEXT_SETS))
def test_a_row_of_a_known_set_is_a_document_with_all_it_said(name: str, kind: str, tmp_path: Path) -> None:
    (document,) = curated(written(tmp_path, ROWS[name], kind), tmp_path, TEXT_SETS[name])
    assert (document.id.replace(f".{kind}:", ".jsonl:"), document.url, document.added) == WANTED[name]
    assert document.text.strip().removeprefix("# ") == SENTENCE
    assert document.source == "named"  # and not what its row says
    assert KEPT[name].items() <= document.notes.items()
    assert LEFT_OUT not in document.notes


def test_a_column_of_sources_names_them_where_it_is_named(tmp_path: Path) -> None:
    rows = [{"text": f"{SENTENCE} {n}", "source": source} for n, source in enumerate(("wiki", "", None, "books"))]
    found = curated(written(tmp_path, rows, "jsonl"), tmp_path, TextColumns(source="source"))
    assert sorted(document.source for document in found) == ["books", "named", "named", "wiki"]
    assert all("source" not in document.notes for document in found)


def test_notes_go_with_kept_and_dropped_documents_through_rules_and_minhash(tmp_path: Path) -> None:
    rows = [
        {"id": "kept", "text": f"{SENTENCE} " * 9, "license": "MIT", "title": "A road"},
        {"id": "copy", "text": f"{SENTENCE} " * 9, "license": "GPL"},
        {"id": "short", "text": "Too short.", "license": "BSD", "odd": "\ud800"},
        {"id": "empty", "text": "  ", "license": "PSF"},
    ]
    rules: dict[str, Any] = {"rules": {"default": [{"word_count": {"at_least": 20}}]}, "dedup": ["minhash"]}
    crawl = files(str(written(tmp_path, rows, "jsonl")), source="web")
    plan = curate((crawl,), settings=build(CurateSettings, rules, where="x"))
    corpus = run_stages(plan, tmp_path / "run", jobs=0)
    (kept,) = read_documents(corpus.path)
    assert kept.notes == {"license": "MIT", "title": "A road"}
    rejects = {document.id: document.notes for document in read_documents(corpus.path, "rejects")}
    assert {name: row["license"] for name, row in rejects.items()} == {"copy": "GPL", "short": "BSD", "empty": "PSF"}
    assert {name: row["step"] for name, row in rejects.items()} == {
        "copy": "minhash", "short": "word_count", "empty": "extract",
    }  # fmt: skip
    assert rejects["short"]["odd"] == "?"


def test_what_columns_are_is_part_of_the_key(tmp_path: Path) -> None:
    file = written(tmp_path, ROWS["dolma"], "jsonl")
    keys = {files(str(file), source="web", columns=columns).key for columns in (TextColumns(), AS_ROWS_SAY)}
    assert len(keys) == 2


# ---- names of sets ----


@settings
class Named:
    columns: ColumnsOrName = TextColumns()


def test_columns_are_named_by_a_set_or_written(tmp_path: Path) -> None:
    assert build(Named, {"columns": "the_stack"}, where="x").columns == TEXT_SETS["the_stack"]
    assert build(Named, {"columns": {"text": "content"}}, where="x").columns.text == "content"
    with pytest.raises(SettingsError, match="'the_stac' is none of the sets c4, .*did you mean 'the_stack'"):
        build(Named, {"columns": "the_stac"}, where="x")
    with pytest.raises(SettingsError, match="txt is not a setting; did you mean 'text'"):
        build(Named, {"columns": {"txt": "content"}}, where="x")
