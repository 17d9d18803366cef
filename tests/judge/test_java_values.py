"""Values written in Java."""

from __future__ import annotations

import time
from typing import Any

import pytest

from herd.judge.java_values import java_value


@pytest.mark.parametrize(
    ("text", "kind", "items", "value"),
    [
        ("-12", "integer", None, -12),
        ("1.5", "integer", None, "1.5"),
        ("5L", "long", None, 5),
        ("5", "long", None, "5"),
        ("3.0f", "float", None, 3.0),
        ("3.0", "float", None, "3.0"),
        ("1e3", "double", None, 1000.0),
        ("true", "boolean", None, True),
        ("TRUE", "boolean", None, "TRUE"),
        ("x y", "String", None, "x y"),
        ("5", "any", None, "5"),
        ("new int[]{1, 2}", "Array", "integer", [1, 2]),
        ('new Object[] {1, "a", 2L, 1.5f, true, x}', "Array", None, [1, "a", 2, 1.5, True, "x"]),
        ("{1, 2}", "Array", "integer", "{1, 2}"),
        ("new ArrayList<Integer>(Arrays.asList(1, 2))", "ArrayList", "integer", [1, 2]),
        ('new ArrayList<String>() {{ add("a"); add("b c"); }}', "ArrayList", "String", ["a", "b c"]),
        ("new ArrayList<>()", "ArrayList", "String", []),
        ("list", "ArrayList", "String", "list"),
        ('new HashMap<String, Integer>() {{ put("a", 1); put("b", x); }}', "HashMap", None, {"a": 1, "b": "x"}),
        ("new HashMap<>()", "HashMap", None, {}),
        ("map", "HashMap", None, "map"),
        ("x", "Set", None, "x"),
    ],
)
def test_values(text: str, kind: str, items: str | None, value: Any) -> None:
    read = java_value(text, kind, items)
    assert read == value
    assert type(read) is type(value)


def test_hostile_values_are_read_in_bounded_time() -> None:
    start = time.process_time()
    for text in ("new HashMap<" * 300, "new HashMap<>() {" + " " * 4000, "new HashMap<" * 10**5, "{" * 10**6):
        java_value(text, "HashMap")
        java_value(text, "ArrayList", "integer")
    assert time.process_time() - start < 20
