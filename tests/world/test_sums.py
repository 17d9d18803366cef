"""Sums: worked steps that add up, a split that does not care for order, and results read as they are stated."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.world import sums


@given(st.integers(10, 9999), st.integers(10, 9999))
def test_steps_add_up(a: int, b: int) -> None:
    if len(str(a)) != len(str(b)):
        return
    text = sums.worked_steps(a, b)
    assert sums.is_right(a, b, text)
    for left, right in re.findall(r"([\d+]+)=(\d+)", text):
        assert sum(map(int, left.split("+"))) == int(right)
    assert not sums.is_right(a, b, text.replace(f"so {a + b}", f"so {a + b + 1}"))


def test_the_split_of_sums_does_not_care_for_order() -> None:
    chance = random.Random(0)
    for _ in range(200):
        a, b = sums.draw_addends(chance)
        assert sums.is_held_out_sum(a, b) == sums.is_held_out_sum(b, a)


def test_steps_are_written_column_by_column_with_their_carries() -> None:
    assert sums.worked_steps(57, 68) == "57 + 68: 7+8=15, 5+6+1=12, so 125."
    assert sums.worked_steps(12, 30) == "12 + 30: 2+0=2, 1+3+0=4, so 42."
    assert sums.worked_steps(347, 285) == "347 + 285: 7+5=12, 4+8+1=13, 3+2+1=6, so 632."
    assert sums.plain(57, 68) == "57 + 68 = 125."
    with pytest.raises(ValueError, match="longer"):
        sums.worked_steps(5, 68)


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("7+8=15, so 15.", 15),
        ("57 + 68 = 125", 125),
        ("  57 + 68 = 125 .  ", 125),
        ("so 125 or so", None),
        ("It is 125.", None),
        ("so 125. What else?", None),
        ("", None),
    ],
)
def test_a_result_is_what_an_answer_ends_with(answer: str, number: int | None) -> None:
    assert sums.result(answer) == number


def test_drawn_sums_have_the_digits_and_the_side_asked_for() -> None:
    chance = random.Random(0)
    for digits in sums.DIGITS:
        for held_out in (False, True):
            drawn = [sums.draw_addends(chance, digits, held_out=held_out) for _ in range(50)]
            assert all(len(str(a)) == len(str(b)) == digits for a, b in drawn)
            assert {sums.is_held_out_sum(a, b) for a, b in drawn} == {held_out}
    assert {len(str(sums.draw_addends(chance)[0])) for _ in range(40)} == set(sums.DIGITS)


def test_a_tenth_of_all_sums_is_held_out_in_any_wording() -> None:
    share = sum(sums.is_held_out_sum(a, b) for a in range(10, 100) for b in range(a, 100)) / (90 * 91 / 2)
    assert share == pytest.approx(sums.HELD_OUT_SHARE, abs=0.01)
    for wording in range(len(sums.WORDINGS)):
        assert re.findall(r"\d+", sums.question(12, 34, wording)) == ["12", "34"]


def test_products_are_held_out_by_their_pair_in_any_order_and_wording() -> None:
    chance = random.Random(0)
    last_digits = set()
    for held_out in (False, True):
        for _ in range(200):
            a, b = sums.draw_factors(chance, held_out=held_out)
            assert 10 <= min(a, b) <= max(a, b) <= 999
            assert sums.is_held_out_product(a, b) == sums.is_held_out_product(b, a) == held_out
            last_digits.add((held_out, a % 10))
    assert len(last_digits) == 20  # no digit tells the side
    share = sum(sums.is_held_out_product(a, b) for a in range(10, 100) for b in range(a, 100)) / (90 * 91 / 2)
    assert share == pytest.approx(sums.HELD_OUT_SHARE, abs=0.01)
    for wording in range(len(sums.PRODUCT_WORDINGS)):
        assert re.findall(r"\d+", sums.product_question(12, 34, wording)) == ["12", "34"]
