"""Calls in Java's and JavaScript's syntax."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.code_calls import java_calls, javascript_calls


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('f(a="x y", b=\'c\', d=3.0f, e=-5)', {"a": "x y", "b": "c", "d": "3.0f", "e": "-5"}),
        ("f(a = new int[] {1, 2})", {"a": "new int[]{1,2}"}),
        ("f(a=new Foo[]{new Foo(1, 2), null})", {"a": "new Foo[]{new Foo(1, 2),null}"}),
        (
            "f(a=new HashMap<String, Integer>() {{ put(\"k\", 1); }}, b=2)",
            {"a": "new HashMap<String,Integer>()", "b": "2"},
        ),
        (
            "f(a=new ArrayList<String>(Arrays.asList(\"x y\", \"z\")))",
            {"a": 'new ArrayList<String>(Arrays.asList("x y", "z"))'},
        ),
        ("f(a=b.c(1, 2).d(3))", {"a": "b.c(1, 2).d(3)"}),
        ("f(a=x -> x + 1)", {"a": "x->x+1"}),
        ("f(a=\"x, y (z\")", {"a": "x, y (z"}),
        ("f(x)", {None: "x"}),
        ("f()", {}),
    ],
)  # fmt: skip
def test_java(text: str, arguments: dict) -> None:
    assert java_calls(text) == [{"f": arguments}]


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("a.b(c='x y', d=[1, 'b'], e={k: [2, 3]})", [{"a.b": {"c": "x y", "d": "[1, 'b']", "e": "{k: [2, 3]}"}}]),
        ("f(a=(x, y) => { return x, y; }, b=true)", [{"f": {"a": "(x, y) => { return x, y; }", "b": "true"}}]),
        ("f(true)", [{"f": {None: "true"}}]),
        ("f(a=x == y)", [{"f": {"a": "x == y"}}]),
        ("f(a=1), g(b=2)", None),
        ("hello", None),
        ("", None),
    ],
)  # fmt: skip
def test_javascript(text: str, calls: Any) -> None:
    assert javascript_calls(text) == calls


@pytest.mark.parametrize("text", ["f(a=1", "f a=1)", "f(a=', b=2)", "f(a=[1)", "f(a=)", "f(x, y)", "f(a=1, a=2)"])
def test_damaged_calls_are_refused(text: str) -> None:
    for read in (java_calls, javascript_calls):
        with pytest.raises(ValueError, match=r"\w"):
            read(text)


@given(st.text(alphabet="f(a=1,)[]{}<>\"' \\new.;", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (java_calls, javascript_calls):
        try:
            read(text)
        except ValueError:
            continue
