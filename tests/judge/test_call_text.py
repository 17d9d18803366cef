"""Calls out of text: Python's syntax and JSON. Nothing is run."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.call_text import NoCallError, are_calls, decode_calls, looks_like_a_call


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("f(a=1)", [{"f": {"a": 1}}]),
        ("```\n[a.b.c(d='x'), g()]\n```", [{"a.b.c": {"d": "x"}}, {"g": {}}]),
        ("[f(a=-1, b=[1, (2, 3)], c={'k': None})]", [{"f": {"a": -1, "b": [1, (2, 3)], "c": {"k": None}}}]),
        ("f(a=x, b=g(1), c=g(d=2), e=x[0])", [{"f": {"a": "x", "b": "g(1)", "c": {"g": {"d": 2}}, "e": "x[0]"}}]),
        ("f(a=..., b=True)", [{"f": {"a": "...", "b": True}}]),
        ("f(a=1 + 2 * 3, b=2 ** 10, c='x' + 'y', d=[1] * 2)", [{"f": {"a": 7, "b": 1024, "c": "xy", "d": [1, 1]}}]),
        ("f(1, a=2)", [{"f": {"a": 2}}]),
        ("[]", []),
        ("", []),
    ],
)  # fmt: skip
def test_python_calls(text: str, calls: Any) -> None:
    assert decode_calls(text) == calls


@pytest.mark.parametrize(
    "text",
    [
        "I cannot help with that.",
        "f",
        "[f(a=1), 2]",
        "f(a=x.y)",
        "f(a=lambda: 1)",
        "f(a=__import__('os').getcwd() + 'x')",
        "f(a=9 ** 9 ** 9 ** 9)",
        "f(a='x' * 10 ** 9)",
        "f(a=1 / 0)",
        "f(a=-'x')",
        "f(a=" + "(" * 5000 + "1" + ")" * 5000 + ")",
        "f(a=" + "-" * 50_000 + "1)",
        "f(a=0x" + "f" * 9000 + ")",  # more digits than Python writes
        "f(" * 30_000,
        "f(a='" + "x" * 10**6 + "')",
    ],
)
def test_what_is_no_call(text: str) -> None:
    start = time.process_time()
    with pytest.raises(NoCallError):
        decode_calls(text)
    assert time.process_time() - start < 20


def test_json_calls() -> None:
    assert decode_calls('x [{"function": "f", "parameters": {"a": 1}}] y', "json") == [{"f": {"a": 1}}]
    assert decode_calls("none", "json") == []
    llama = '<|python_tag|>{"name": "f", "parameters": {"a": "x; y"}}; {"name": "g", "arguments": {}}'
    assert decode_calls(llama, "llama3_json") == [{"f": {"a": "x; y"}}, {"g": {}}]
    for text in ('{"name": "f"}', "f(a=1)", '{"name": "f", "parameters": {}} and', "[1]", "[" * 10**5):
        with pytest.raises(NoCallError):
            decode_calls(text, "llama3_json")


def test_what_counts_as_calls() -> None:
    assert are_calls([])
    assert are_calls([{"f": {"a": 1}}])
    assert not any(map(are_calls, (None, {}, [{}], [{"f": 1}], [{"f": {}, "g": {}}], "f")))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[f(a=1", True),
        ("Let me call get_weather(city=", True),
        ('{"name": "get_weather", "parameters": {', True),
        ('<tool_call>{"x"', True),
        ("I cannot get the weather (sorry).", False),
        ("", False),
        ('As JSON: {"function": "get_weather"', True),
    ],
)
def test_a_damaged_call_is_told_from_prose(text: str, meant: bool) -> None:
    assert looks_like_a_call(text, ["get_weather"]) is meant


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(
        st.dictionaries(st.from_regex(r"[a-z]{1,5}x_", fullmatch=True), VALUES, max_size=3), min_size=1, max_size=3
    )
)
def test_what_is_written_is_read_again(calls: list[dict]) -> None:
    written = ", ".join(f"m.f({', '.join(f'{name}={value!r}' for name, value in call.items())})" for call in calls)
    assert decode_calls(f"[{written}]") == [{"m.f": call} for call in calls]


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for form in ("python", "java", "javascript", "json", "llama3_json"):
        try:
            decode_calls(text, form)
        except NoCallError:
            continue
