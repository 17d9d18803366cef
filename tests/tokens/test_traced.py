"""A traced text is the text that Python makes, and every character knows its source."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.tokens.traced import (
    MIXED_SOURCE,
    TracedText,
    is_generated,
    is_unsure,
    join_traced,
    mark_generated,
    origin_of_source,
    origins_of,
    source_of,
    sources_in,
    trace,
    trace_coarsely,
)

LETTERS = "aAb \n\tß,"
TEXTS = st.text(LETTERS, max_size=12)
SEPARATORS = st.text(LETTERS, min_size=1, max_size=2)


def numbered(text: str) -> TracedText:
    """Every character from a source of its own, by its place."""
    return TracedText(text, "".join(map(origin_of_source, range(len(text)))))


def places(part: str) -> list[int | None]:
    return [source_of(origin) for origin in origins_of(part)]


def holds(whole: str, parts: list[str], expected: list[str]) -> None:
    """The parts are those that Python gives, and each character says where in `whole` it stood."""
    assert [str.__str__(part) for part in parts] == expected
    for part in parts:
        assert isinstance(part, TracedText)
        assert all(
            at is not None and whole[at] == letter for at, letter in zip(places(part), str.__str__(part), strict=True)
        )
        assert places(part) == list(range(*_span(part)))


def _span(part: str) -> tuple[int, int]:
    found = [at for at in places(part) if at is not None]
    return (found[0], found[0] + len(found)) if found else (0, 0)


@given(TEXTS, SEPARATORS, st.integers(-1, 3))
def test_parts_of_a_text_keep_where_they_stood(text: str, sep: str, most: int) -> None:
    whole = numbered(text)
    holds(text, whole.split(sep, most), text.split(sep, most))
    holds(text, whole.rsplit(sep, most), text.rsplit(sep, most))
    holds(text, whole.split(None, most), text.split(None, most))
    holds(text, whole.rsplit(None, most), text.rsplit(None, most))
    holds(text, list(whole.partition(sep)), list(text.partition(sep)))
    holds(text, list(whole.rpartition(sep)), list(text.rpartition(sep)))
    for keep in (False, True):
        holds(text, whole.splitlines(keep), text.splitlines(keep))
    holds(text, list(whole), list(text))


CUTS: list[Callable[[str], str]] = [
    str.strip, str.lstrip, str.rstrip, lambda x: x.strip("a"), lambda x: x.removeprefix("a"),
    lambda x: x.removesuffix(" "), lambda x: x[1:-1], lambda x: x[::-1], lambda x: x[::2],
]  # fmt: skip


@given(TEXTS, st.sampled_from(CUTS))
def test_what_is_cut_off_leaves_the_rest_where_it_was(text: str, cut: Callable[[str], str]) -> None:
    # By the methods of the traced text: str.strip itself would forget.
    made = {str.strip: TracedText.strip, str.lstrip: TracedText.lstrip, str.rstrip: TracedText.rstrip}.get(cut, cut)  # type: ignore[call-overload]
    found = made(numbered(text))  # type: ignore[arg-type]
    assert str.__str__(found) == cut(text)
    assert [text[at] for at in places(found) if at is not None] == list(cut(text))


@given(TEXTS, TEXTS, TEXTS, st.integers(-1, 3))
def test_what_is_put_in_is_of_where_it_comes_from(text: str, old: str, new: str, count: int) -> None:
    whole, other = TracedText(text, origin_of_source(1) * len(text)), TracedText(new, origin_of_source(2) * len(new))
    found = whole.replace(old, other, count)
    assert str.__str__(found) == text.replace(old, new, count)
    if old and text:
        assert places(found).count(1) == len(text) - len(old) * _times(text, old, count)
        assert places(found).count(2) == len(new) * _times(text, old, count)
    both = "x" + whole + other + "y"
    assert places(both) == [None, *[1] * len(text), *[2] * len(new), None]
    assert places(whole * 2) == places(2 * whole) == [1] * len(text) * 2
    assert places(other.join([whole, "x"])) == [*[1] * len(text), *[2] * len(new), None]


def _times(text: str, old: str, count: int) -> int:
    return text.count(old) if count < 0 else min(count, text.count(old))


@given(TEXTS)
def test_letters_in_another_case_stay_where_they_were_or_may_be_of_all(text: str) -> None:
    whole = TracedText(text, origin_of_source(3) * len(text))
    for name in ("upper", "lower", "capitalize", "title"):
        found = getattr(whole, name)()
        assert str.__str__(found) == getattr(text, name)()
        assert set(places(found)) <= {3}
        grown = len(found) != len(text)  # ß becomes two letters
        assert any(map(is_unsure, origins_of(found))) == grown


def test_what_is_not_followed_may_be_of_all_it_was_made_of() -> None:
    one, two = trace("a", 1), trace({"k": ["b"]}, 2)
    assert sources_in([one, two]) == {1, 2}
    assert sources_in(two) == {2}
    assert places(trace_coarsely("xyz", one)) == [1, 1, 1]
    assert all(map(is_unsure, origins_of(trace_coarsely("xyz", one))))
    assert places(trace_coarsely("x", (one, {"deep": two}))) == [MIXED_SOURCE]
    assert not isinstance(trace_coarsely("x", "plain"), TracedText)
    assert trace_coarsely("", one) == ""
    own: list[object] = [one]
    own.append(own)
    assert sources_in(own) == {1}  # what holds itself ends too


def test_what_the_assistant_generates_keeps_its_source() -> None:
    found = mark_generated("a" + trace("b", 4))
    assert places(found) == [None, 4]
    assert all(map(is_generated, origins_of(found)))
    assert not any(map(is_unsure, origins_of(found)))


def test_a_text_of_untraced_parts_is_a_plain_one() -> None:
    assert type(join_traced(["a", "b"], ", ")) is str
    assert join_traced(["a", "b"], ", ") == "a, b"
    value = trace({"a": [1, None, ("b", True)]}, 0)
    assert value == {"a": [1, None, ["b", True]]}
    assert sources_in(value) == {0}
    with pytest.raises(AssertionError):
        TracedText("ab", origin_of_source(1))
