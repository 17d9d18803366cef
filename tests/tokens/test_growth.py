"""What is foretold of a result's size is never less than the size: that is what bounds rely on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from herd.tokens.growth import of_filter, of_method, of_operator

TEXTS = st.text("ab\t\n ", max_size=8)
NUMBERS = st.integers(-20, 60)
LISTS = st.lists(st.integers(0, 3), max_size=5)
ENVIRONMENT = Environment()
HUGE = 10**12


@given(TEXTS | LISTS, TEXTS | LISTS, NUMBERS)
def test_texts_and_lists_grow_no_further_than_is_told(left: Any, right: Any, times: int) -> None:
    assert len(left * times) <= of_operator("*", left, times) == of_operator("*", times, left)
    if type(left) is type(right):
        assert len(left + right) == of_operator("+", left, right)


@given(st.integers(-(2**70), 2**70), st.integers(0, 40))
def test_small_numbers_are_let_pass_and_large_ones_are_told(number: int, power: int) -> None:
    large = abs(number**power).bit_length() > 4096
    assert not large or of_operator("**", number, power) > HUGE
    assert of_operator("*", number, number) == 0
    assert of_operator("**", 10, 10**9) > HUGE
    assert of_operator("+", number, 1) == 0


@given(st.sampled_from(["%d", "%5s|%-12s", "%*d", "a%%%s", "%(k)9s", "%.3f"]), st.integers(-200, 200), TEXTS)
def test_a_form_is_filled_to_no_more_than_is_told(form: str, number: int, text: str) -> None:
    values: Any = {
        "%d": number, "%5s|%-12s": (text, text), "%*d": (number, 3), "a%%%s": text, "%(k)9s": {"k": text}, "%.3f": 1.5,
    }[form]  # fmt: skip
    # Digits are bounded with the number itself, and a star that asks for up to 99 is let pass.
    slack = len(str(number)) * ("d" in form) + 99 * ("*" in form)
    assert len(form % values) <= of_operator("%", form, values) + slack
    assert "*" not in form or of_operator("%", form, (10**9, 3)) >= 10**9


@given(st.sampled_from(["{}", "{0}{0}{1}", "{:>30}", "{:{}}", "{{}}{}"]), TEXTS, st.integers(100, 300))
def test_braces_are_filled_to_no_more_than_is_told(form: str, text: str, width: int) -> None:
    values = (text, width) if form in ("{0}{0}{1}", "{:{}}") else (text,)
    assert len(form.format(*values)) <= of_method("format", form, values, {})


METHODS: dict[str, Callable[[str, str, str, int], tuple[Any, ...]]] = {
    "replace": lambda text, old, new, number: (old, new),
    "expandtabs": lambda text, old, new, number: (abs(number),),
    "join": lambda text, old, new, number: ([old, new, old],),
    "center": lambda text, old, new, number: (number,),
    "ljust": lambda text, old, new, number: (number, "x"),
    "zfill": lambda text, old, new, number: (number,),
    "upper": lambda text, old, new, number: (),
    "translate": lambda text, old, new, number: ({97: new, 98: None},),
    "strip": lambda text, old, new, number: (),
}


@pytest.mark.parametrize("name", METHODS)
@given(TEXTS, TEXTS, TEXTS, NUMBERS)
def test_a_method_gives_no_more_than_is_told(name: str, text: str, old: str, new: str, number: int) -> None:
    args = METHODS[name](text, old, new, number)
    assert len(getattr(text, name)(*args)) <= of_method(name, text, args, {})


FILTERS: dict[str, Callable[[str, str, str, int], tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "replace": lambda text, old, new, number: ((text, old, new), {}),
    "indent": lambda text, old, new, number: ((text, abs(number)), {"first": True, "blank": True}),
    "center": lambda text, old, new, number: ((text, number), {}),
    "format": lambda text, old, new, number: (("%s and %9s", old, new), {}),
    "upper": lambda text, old, new, number: ((text,), {}),
    "trim": lambda text, old, new, number: ((text,), {}),
}


@pytest.mark.parametrize("name", FILTERS)
@given(TEXTS, TEXTS, TEXTS, NUMBERS)
def test_a_filter_gives_no_more_than_is_told(name: str, text: str, old: str, new: str, number: int) -> None:
    args, kwargs = FILTERS[name](text, old, new, number)
    asked = ENVIRONMENT.from_string("").new_context()
    found = ENVIRONMENT.call_filter(name, args[0], list(args[1:]), kwargs, context=asked)
    assert len(found) <= of_filter(name, args, kwargs)


def test_what_would_be_huge_is_told_before_it_is_made() -> None:
    assert of_method("center", "a", (HUGE,), {}) >= HUGE
    assert of_method("ljust", "a", (), {"width": HUGE}) >= HUGE
    assert of_method("replace", "a" * 1000, ("a", "b" * 10**6), {}) >= 10**9
    assert of_method("format", "{:>999999999999}", (1,), {}) >= HUGE - 1
    assert of_filter("tojson", ([1],), {"indent": HUGE}) >= HUGE
    assert of_filter("tojson", ([1],), {"indent": 4}) < 10
    assert of_filter("indent", ("a\nb",), {"width": HUGE}) > HUGE
    assert of_filter("batch", ([1], HUGE, "x"), {}) >= HUGE
    assert of_operator("%", "%" + "9" * 30 + "d", 1) >= 1 << 62
