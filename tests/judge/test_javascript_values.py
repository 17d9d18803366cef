"""Values written in JavaScript."""

from __future__ import annotations

import time
from typing import Any

import pytest

from herd.judge.javascript_values import javascript_value


@pytest.mark.parametrize(
    ("text", "kind", "items", "value"),
    [
        ("-12", "integer", None, -12),
        ("1.5", "float", None, 1.5),
        ("5n", "Bigint", None, 5),
        ("5", "Bigint", None, "5"),
        ("false", "Boolean", None, False),
        ("'x'", "String", None, "x"),
        ("x", "String", None, "x"),
        ("[1, 'b', true, 1.5]", "array", None, [1, "b", True, 1.5]),
        ("[]", "array", "String", []),
        ("new Array(1, 2)", "array", "integer", [1, 2]),
        ('["a", b]', "array", "String", ["a", "b"]),
        ("[[1, 2], [3]]", "array", None, [[1, 2], [3]]),
        ("[1]", "array", "nothing", "[1]"),
        ("list", "array", None, "list"),
        ("{}", "dict", None, {}),
        ('{"a": 1, b: [1, 2], c: "x"}', "dict", None, {"a": 1, "b": [1, 2], "c": "x"}),
        ("object", "dict", None, "object"),
        ("x => 1", "any", None, "x => 1"),
    ],
)
def test_values(text: str, kind: str, items: str | None, value: Any) -> None:
    read = javascript_value(text, kind, items)
    assert read == value
    assert type(read) is type(value)


def test_hostile_values_are_read_in_bounded_time() -> None:
    start = time.process_time()
    for text in ("[[" * 1000, "[ [" + "],[" * 800, "{a:" + ",a" * 1000, "[" * 10**6):
        javascript_value(text, "array")
        javascript_value(text, "dict")
    assert time.process_time() - start < 20
