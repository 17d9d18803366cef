"""Names of files from text that others wrote."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from herd.core.names import file_name, source_name

ANYTHING = st.text(st.characters(), max_size=300)


def test_plain_names_stay() -> None:
    assert [file_name(one) for one in ("web", "wiki.train", "a_b-2")] == ["web", "wiki.train", "a_b-2"]


@given(ANYTHING)
def test_a_name_is_one_part_of_a_path_on_every_system(text: str) -> None:
    name = file_name(text)
    assert name.isascii()
    assert 0 < len(name) < 100
    assert not set(name) & set('/\\:*?"<>|\0\n\r\t ')
    assert name[0] not in ".-"


@given(st.lists(ANYTHING, unique=True, max_size=20))
def test_different_texts_have_different_names_where_capitals_do_not_count(texts: list[str]) -> None:
    assert len({file_name(text).lower() for text in texts}) == len(texts)


def test_near_texts_differ() -> None:
    texts = [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "a-b",
        "A-B",
        "a b",
        "../a",
        "/a",
        "a",
        "a\0",
        "a" * 64,
        "a" * 65,
        "a~b",
        "ä",
    ]
    assert len({file_name(text).lower() for text in texts}) == len(texts)


@given(ANYTHING)
def test_a_source_has_a_plain_name(text: str) -> None:
    assert re.fullmatch(r"[a-z0-9_-]+", source_name(f"memory://{text}"))


def test_a_source_is_called_as_its_file_or_folder() -> None:
    names = {"x/Own Rows.jsonl.gz": "own-rows", "books/": "books", "s3://bucket/web/*.jsonl": "web"}
    assert {place: source_name(place) for place in names} == names
