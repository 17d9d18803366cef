"""JSON of traced values is Python's JSON, with the texts in it where they come from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.tokens.traced import TracedText, is_unsure, origin_of_source, origins_of, source_of, trace
from herd.tokens.traced_json import to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('a"\\é\n🙂~0', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("kä~1", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 2, "\t"]), st.booleans())
def test_it_is_what_python_writes(value: Any, escaped: bool, indent: int | str | None, ordered: bool) -> None:
    form: dict[str, Any] = {"ensure_ascii": escaped, "indent": indent, "sort_keys": ordered}
    found = to_json(trace(value, 5), **form)
    assert str.__str__(found) == json.dumps(value, **form)
    assert {source_of(origin) for origin in origins_of(found)} <= {None, 5}


def test_texts_are_of_their_source_and_brackets_of_the_template() -> None:
    found = to_json({"k": trace('a"é', 7), "n": 1})
    assert found == '{"k": "a\\"é", "n": 1}'
    start = found.index("a")
    assert [source_of(origin) for origin in origins_of(found)] == [None] * start + [7] * 4 + [None] * 10
    assert not any(map(is_unsure, origins_of(found)))
    escaped = to_json(trace("é", 7), ensure_ascii=True)
    assert escaped == '"\\u00e9"'
    assert [source_of(origin) for origin in origins_of(escaped)] == [None, *[7] * 6, None]


def test_a_text_of_two_sources_stays_of_two() -> None:
    found = to_json([TracedText('a"', origin_of_source(1) + origin_of_source(2))])
    assert found == '["a\\""]'
    assert [source_of(origin) for origin in origins_of(found)] == [None, None, 1, 2, 2, None, None]


@pytest.mark.parametrize(
    "value",
    [
        [trace("x", 1), "~0~"],  # a plain text that looks like a place
        {trace("b", 1): 1, trace("a", 2): 2},
    ],
)
def test_where_it_cannot_be_told_all_of_it_may_be_of_all(value: Any) -> None:
    found = to_json(value, sort_keys=True)
    assert found == json.dumps(value, sort_keys=True)
    assert all(map(is_unsure, origins_of(found)))


def test_without_traced_texts_it_is_a_plain_text() -> None:
    assert type(to_json({"a": ["<&>", 1.5]})) is str
    assert to_json({"a": "<ü>"}) == '{"a": "<ü>"}'  # no escapes as for web pages
