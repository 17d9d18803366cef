"""Numbers as people write them on a command line."""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path

import pytest

from herd.commands.arguments import add_column_options, add_plugins, amount, bounded_number, columns_of, sources_of
from herd.core.errors import SettingsError
from herd.corpus.columns import TEXT_SETS, TextColumns


@pytest.mark.parametrize(
    ("text", "value"),
    [("8192", 8192), ("16k", 16_000), ("15.6T", 15_600_000_000_000), ("4M", 4_000_000), ("1_000", 1000)],
)
def test_amounts_have_endings(text: str, value: int) -> None:
    assert amount(text) == value


@pytest.mark.parametrize(
    ("text", "words"), [("many", "is no number"), ("0", "is not above zero"), ("infk", "no number")]
)
def test_an_amount_that_is_none_is_refused(text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        amount(text)


def test_numbers_have_bounds() -> None:
    assert bounded_number(0, 10)("10") == 10
    assert bounded_number(0.5)("0.5") == 0.5
    for read, text, words in (
        (bounded_number(0, 10), "11", "give from 0 to 10"),
        (bounded_number(0), "0.5", "no whole number"),
        (bounded_number(0.0), "nan", "give 0.0 or more"),
        (bounded_number(0.0), "inf", "give 0.0 or more"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=words):
            read(text)


def test_files_of_plugins_add_up() -> None:
    parser = argparse.ArgumentParser()
    add_plugins(parser)
    assert parser.parse_args([]).plugins == []
    assert parser.parse_args(["--plugins", "a.py", "--plugins", "b.py"]).plugins == ["a.py", "b.py"]


def files_in(folder: Path, *names: str) -> list[str]:
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    return [str(path) for path in paths]


def test_a_source_is_called_as_it_is_said_or_as_its_folder_or_file(tmp_path: Path) -> None:
    book, wiki = files_in(tmp_path, "My Books/one.md", "wiki.txt.gz")
    sources = sources_of([str(tmp_path / "My Books"), wiki, f"web={book}", f"web={wiki}", "s3://bucket/crawl/"])
    assert sources == {
        "my-books": (str(tmp_path / "My Books"),),
        "wiki": (wiki,),
        "web": (book, wiki),
        "crawl": ("s3://bucket/crawl/",),
    }


def test_paths_become_absolute_and_a_pattern_is_called_as_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_in(tmp_path, "books/a.md")
    monkeypatch.chdir(tmp_path)
    assert sources_of(["books/*.md"]) == {"books": (str(tmp_path / "books/*.md"),)}
    assert sources_of(["."]) == {re.sub(r"[^a-z0-9_-]+", "-", tmp_path.name.lower()): (str(tmp_path),)}


def test_many_files_of_a_folder_are_one_source_and_few_are_one_each(tmp_path: Path) -> None:
    many = files_in(tmp_path, *(f"books/{n}.md" for n in range(9)))
    assert sources_of(many) == {"books": tuple(many)}
    assert sources_of(many[:8]) == {str(n): (many[n],) for n in range(8)}


def test_a_file_whose_name_holds_an_equals_sign_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files_in(tmp_path, "a=b.txt")
    monkeypatch.chdir(tmp_path)
    assert sources_of(["a=b.txt"]) == {"a-b": (str(tmp_path / "a=b.txt"),)}
    assert sources_of(["s3://bucket/x=1/a.jsonl"]) == {"a": ("s3://bucket/x=1/a.jsonl",)}
    assert sources_of(["code=s3://bucket/a.jsonl"]) == {"code": ("s3://bucket/a.jsonl",)}


def test_two_things_of_one_name_are_refused_with_a_way_to_tell_them_apart(tmp_path: Path) -> None:
    one, two = files_in(tmp_path, "a/text.txt", "b/text.txt")
    with pytest.raises(SettingsError, match=r"both be the source 'text'; give one a name, such as text-2="):
        sources_of([one, two])
    with pytest.raises(SettingsError, match="both be the source 'text'"):
        sources_of([one, f"text={two}"])


def test_columns_are_said_of_all_tables_or_of_a_source() -> None:
    def columns(*words: str) -> dict[str, TextColumns]:
        parser = argparse.ArgumentParser()
        add_column_options(parser)
        return columns_of(parser.parse_args(words), ("code", "web", "wiki"))

    assert columns() == {}
    assert columns("--text-column", "body") == {"default": TextColumns(text="body")}
    assert columns("--text-column", "code=content") == {"code": TextColumns(text="content")}
    both = columns("--text-column", "code=content", "--text-column", "body", "--source-column", "web=site")
    assert both == {
        "default": TextColumns(text="body"),
        "code": TextColumns(text="content"),
        "web": TextColumns(text="body", source="site"),
    }
    sets = columns("--columns", "code=the_stack", "--text-column", "body", "--source-column", "code=lang")
    assert sets == {
        "default": TextColumns(text="body"),
        "code": replace(TEXT_SETS["the_stack"], source="lang"),
    }
    with pytest.raises(SettingsError, match="--text-column cod=content: 'cod' is no source of the data; did you mean"):
        columns("--text-column", "cod=content")
    with pytest.raises(SettingsError, match="--text-column of code is given twice, a and b; keep one"):
        columns("--text-column", "code=a", "--text-column", "code=b")
