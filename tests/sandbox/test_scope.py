"""Which names of a program its tests see."""

from __future__ import annotations

import math

import pytest

from herd.sandbox.scope import is_builtin, visible_names


class Fake:
    isclose = staticmethod(lambda *_: True)


@pytest.mark.parametrize(
    ("program", "tests", "style", "entry_point", "seen"),
    [
        ("f abs", "assert abs(f(3.0) - 4) < 1e-6", "asserts", "", "f"),
        ("f set _helper", "assert set(f(1)) == {4, 5}", "asserts", "f", "f _helper"),
        ("sum helper", "assert sum(10, 15) == 6", "asserts", "", "sum helper"),  # of MBPP, and other such
        ("sum root", "assert sum(root) == 6", "asserts", "", "sum root"),
        ("sum len", "assert sum(1, 2) == len([1])", "asserts", "", ""),
        ("sum len", "def check(candidate): assert candidate(1, 2) == len([1])", "check", "sum", "sum"),
        ("f isinstance", "def test_a(): assert isinstance(f(1), list)", "pytest", "", "f"),
        ("f len", ">>> len(f(1))\n3\n", "doctest", "", "f"),
        ("len", ">>> len(1)\n3\n", "doctest", "", "len"),
        ("f len", "assert f(", "asserts", "", "f"),
        ("f True", "assert f(1)", "asserts", "", "f"),
    ],
)
def test_builtins_are_pythons_own_but_for_what_is_tested(
    program: str, tests: str, style: str, entry_point: str, seen: str
) -> None:
    defined = dict.fromkeys(program.split(), 1)
    assert list(visible_names(defined, tests, style=style, entry_point=entry_point)) == seen.split()
    assert is_builtin("abs")
    assert not is_builtin("f")


def test_modules_of_pythons_are_its_own_where_tests_use_what_they_have() -> None:
    fake = Fake()
    tests = "assert math.isclose(f(1), 2)\nqueue.push(1)\nassert copy(2) == 2"
    seen = visible_names({"math": fake, "queue": fake, "copy": fake, "f": fake}, tests, style="asserts")
    assert seen == {"math": math, "queue": fake, "copy": fake, "f": fake}
    assert (
        visible_names({"math": fake}, "assert math.isclose(1, 2)", style="asserts", entry_point="math")["math"] is fake
    )
    assert visible_names({"math": math}, "assert math.isclose(1, 2)", style="asserts")["math"] is math
