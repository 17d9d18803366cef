r"""The answer in the last `\boxed{}`."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.judge.boxed import last_boxed


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"$\boxed 5$ is it", "5"),
        (r"\fbox{3}", "3"),
        (r"\boxed{1", None),
        (r"\boxed", None),
        (r"\boxed{}", ""),
        ("5", None),
    ],
)
def test_the_last_box(text: str, answer: str | None) -> None:
    assert last_boxed(text) == answer


NESTED = st.recursive(
    st.text("ab", max_size=3), lambda inner: st.lists(inner, max_size=3).map("".join).map("{{{}}}".format)
)


@given(NESTED, st.text("ab}", max_size=5))
def test_braces_inside_belong_to_it(inside: str, after: str) -> None:
    assert last_boxed(rf"x \boxed{{{inside}}}{after}") == inside


def test_braces_ten_thousand_deep() -> None:
    start, deep = time.process_time(), "{" * 10_000 + "}" * 10_000
    assert last_boxed(rf"\boxed{{{deep}}}") == deep
    assert last_boxed(r"\boxed{" * 100_000) is None
    assert time.process_time() - start < 5
