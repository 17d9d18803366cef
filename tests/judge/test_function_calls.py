"""BFCL's rules for calls, a case for every error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.core.errors import DataError
from herd.judge.function_calls import CallError, check_call, check_calls, standardize_string

KINDS: dict[str, Any] = {
    "n": {"type": "integer"},
    "x": {"type": "float"},
    "s": {"type": "string"},
    "b": {"type": "boolean"},
    "l": {"type": "array", "items": {"type": "integer"}},
    "t": {"type": "tuple", "items": {"type": "string"}},
    "d": {"type": "dict", "properties": {}},
    "r": {"type": "array", "items": {"type": "dict"}},
    "a": {"type": "any"},
}
FUNCTION = {"name": "m.f", "parameters": {"properties": KINDS, "required": ["n"]}}
ANSWER = {
    "m.f": {
        "n": [1, 2],
        "x": [2.5, 3.0, ""],
        "s": ["New York, NY", ""],
        "b": [True, ""],
        "l": [[1, 2], ""],
        "t": [["a b", "c"], ""],
        "d": [{"k": ["v", ""], "j": [1]}, ""],
        "r": [[{"k": ["v"]}, {"k": ["w"]}], ""],
        "a": ["z", ""],
    }
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"n": 1},
        {"n": 2, "x": 3},  # an integer is a float
        {"n": 1, "s": "new york NY"},
        {"n": 1, "s": "New-York/NY"},
        {"n": 1, "b": True},
        {"n": 1, "l": [1, 2]},
        {"n": 1, "t": ("A-b", "C")},
        {"n": 1, "d": {"j": 1}},
        {"n": 1, "d": {"k": "V.", "j": 1}},
        {"n": 1, "r": [{"k": "v"}, {"k": "W"}]},
        {"n": 1, "a": "Z"},
    ],
)
def test_calls_that_are_right(arguments: dict) -> None:
    assert check_call(FUNCTION, {"m.f": arguments}, ANSWER) is None


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ({"m.g": {"n": 1}}, "simple_function_checker:wrong_func_name"),
        ({"m.f": {"x": 2.5}}, "simple_function_checker:missing_required"),
        ({"m.f": {"n": 1, "y": 1}}, "simple_function_checker:unexpected_param"),
        ({"m.f": {"n": "1"}}, "type_error:simple"),
        ({"m.f": {"n": True}}, "type_error:simple"),
        ({"m.f": {"n": 1.0}}, "type_error:simple"),
        ({"m.f": {"n": 3}}, "value_error:others"),
        ({"m.f": {"n": 1, "x": 2.6}}, "value_error:others"),
        ({"m.f": {"n": 1, "s": "Boston"}}, "value_error:string"),
        ({"m.f": {"n": 1, "l": ["1", "2"]}}, "value_error:list/tuple"),  # of what may be left out, items have no type
        ({"m.f": {"n": 1, "l": [2, 1]}}, "value_error:list/tuple"),
        ({"m.f": {"n": 1, "l": (1, 2)}}, "type_error:simple"),
        ({"m.f": {"n": 1, "d": {"j": 2}}}, "value_error:dict_value"),
        ({"m.f": {"n": 1, "d": {"k": "v"}}}, "value_error:dict_key"),
        ({"m.f": {"n": 1, "d": {"j": 1, "i": 1}}}, "value_error:dict_key"),
        ({"m.f": {"n": 1, "r": [{"k": "v"}]}}, "value_error:list_dict_count"),
        ({"m.f": {"n": 1, "r": [{"k": "w"}, {"k": "v"}]}}, "value_error:list_dict_count"),  # the last option is ""
        ({"m.f": {"n": 1, "d": {}}}, "value_error:dict_key"),
        ({"m.f": {"n": 1, "a": 3}}, "type_error:simple"),
    ],
)
def test_calls_that_are_wrong(call: dict, kind: str) -> None:
    error = check_call(FUNCTION, call, ANSWER)
    assert error is not None
    assert error.kind == kind


def test_what_may_not_be_left_out() -> None:
    error = check_call(FUNCTION, {"m.f": {"n": 1}}, {"m.f": {**ANSWER["m.f"], "s": ["only"]}})
    assert error == CallError("simple_function_checker:missing_optional", "s")


def test_items_of_what_is_required_have_a_type() -> None:
    numbers = {"m.f": {"n": [1], "l": [[1, 2]]}}
    rows = {"m.f": {"n": [1], "r": [[{"k": ["v"]}]]}}
    for values, answer, kind in (
        ({"l": ["1", "2"]}, numbers, "type_error:nested"),
        ({"l": [2, 1]}, numbers, "value_error:list/tuple"),
        ({"r": [{"k": "w"}]}, rows, "value_error:dict_value"),
        ({"r": [1]}, rows, "type_error:nested"),
    ):
        error = check_call(FUNCTION, {"m.f": {"n": 1, **values}}, answer)
        assert error is not None
        assert error.kind == kind


def test_a_variable_is_compared_as_text() -> None:
    """Where the described type is another than that of the values that are allowed."""
    answer = {"m.f": {"n": ["count"]}}
    assert check_call(FUNCTION, {"m.f": {"n": "count"}}, answer) is None
    error = check_call(FUNCTION, {"m.f": {"n": "Count"}}, answer)
    assert error is not None
    assert error.kind == "value_error:others"


def test_several_calls_match_in_any_order() -> None:
    functions = [{"name": name, "parameters": {"properties": KINDS, "required": ["n"]}} for name in "fg"]
    answers = [{"f": {"n": [1]}}, {"g": {"n": [1]}}, {"f": {"n": [1, 2]}}]
    right = [{"f": {"n": 2}}, {"g": {"n": 1}}, {"f": {"n": 1}}]
    assert check_calls(functions, right, answers, category="parallel_multiple") is None
    for calls, kind in (
        (right[:2], "wrong_count"),
        ([*right[:2], {"f": {"n": 2}}], "cannot_find_match"),
    ):
        error = check_calls(functions, calls, answers, category="parallel")
        assert error is not None
        assert error.kind == f"parallel_function_checker_no_order:{kind}"
    assert check_calls(functions, [{"g": {"n": 1}}], answers[1:2], category="multiple") is None
    for category in ("multiple", "simple_python"):
        error = check_calls(functions, right, answers[:1], category=category)
        assert error is not None
        assert error.kind == f"{category.split('_')[0]}_function_checker:wrong_count"


def test_values_in_java_and_javascript() -> None:
    java = {"name": "f", "parameters": {"properties": {"n": {"type": "long"}, "c": {"type": "any"}}, "required": []}}
    answer = {"f": {"n": [5], "c": ["obj", ""]}}
    assert check_call(java, {"f": {"n": "5L", "c": "obj"}}, answer, "java") is None
    error = check_call(java, {"f": {"n": 5}}, answer, "java")
    assert error is not None
    assert error.kind == "type_error:java"
    script = {"name": "f", "parameters": {"properties": {"b": {"type": "Boolean"}}, "required": ["b"]}}
    assert check_call(script, {"f": {"b": "true"}}, {"f": {"b": [True]}}, "javascript") is None
    error = check_call(script, {"f": {"b": True}}, {"f": {"b": [True]}}, "javascript")
    assert error is not None
    assert error.kind == "type_error:js"


def test_rows_that_make_no_sense_are_refused() -> None:
    odd = {"name": "f", "parameters": {"properties": {"n": {"type": "complex"}}, "required": []}}
    with pytest.raises(DataError, match="complex"):
        check_call(odd, {"f": {"n": 1}}, {"f": {"n": [1]}})
    with pytest.raises(DataError, match="'h'"):
        check_calls([odd], [{"f": {}}], [{"h": {}}], category="multiple")


@given(st.text(max_size=20))
def test_marks_and_case_do_not_count(text: str) -> None:
    answer = {"m.f": {"n": [1], "s": [text, ""]}}
    assert check_call(FUNCTION, {"m.f": {"n": 1, "s": f" {text}_".replace(" ", "-")}}, answer) is None
    assert standardize_string(f"{text}.,") == standardize_string(text)
