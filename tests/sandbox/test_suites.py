"""Test programs of five kinds, in one process with what they test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from herd.sandbox.suites import run_suite


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    finders, names = list(sys.meta_path), dict(sys.modules)
    yield
    sys.meta_path[:] = finders
    for name in set(sys.modules) - set(names):
        del sys.modules[name]
    sys.modules.update(names)


def outcome(style: str, code: str, tests: str, entry_point: str = "") -> dict[str, Any]:
    request = {"style": style, "code": code, "tests": tests, "entry_point": entry_point}
    for name in ("anything", "square"):
        sys.modules.pop(name, None)
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "herd.sandbox.suites"]
    return run_suite(None, request, {"__name__": "tests"})


SQUARE = "def square(x):\n    return x * x\n"
WRONG = "def square(x):\n    return x + x\n"
CHECK = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(3) == 9\n"
CASES = (
    "import unittest\nfrom anything import square\nclass T(unittest.TestCase):\n"
    "    def test_a(self): self.assertEqual(square(2), 4)\n    def test_b(self): self.assertEqual(square(3), 9)\n"
    "    @unittest.skip('later')\n    def test_c(self): 1 / 0\n"
)
FUNCTIONS = "from square import square\ndef test_a(): assert square(2) == 4\ndef test_b(): assert square(3) == 9\n"
EXAMPLES = ">>> square(2)\n4\n>>> square(3)\n9\n"
STYLES = [
    ("check", CHECK, "square", (1, 0), (0, 1)),
    ("asserts", "assert square(2) == 4\nx = 3\nassert square(x) == 9", "", (2, 0), (1, 1)),
    ("unittest", CASES, "", (2, 0), (1, 1)),
    ("pytest", FUNCTIONS, "square", (2, 0), (1, 1)),
    ("pytest", CASES, "anything", (2, 0), (1, 1)),
    ("doctest", EXAMPLES, "", (2, 0), (1, 1)),
]


@pytest.mark.parametrize(("style", "tests", "entry_point", "right", "wrong"), STYLES)
def test_a_right_program_passes_and_a_wrong_one_does_not(
    style: str, tests: str, entry_point: str, right: tuple[int, int], wrong: tuple[int, int]
) -> None:
    for code, (passed, failed) in ((SQUARE, right), (WRONG, wrong)):
        found = outcome(style, code, tests, entry_point)
        assert (found["passed"], found["failed"], found["broken"]) == (passed, failed, "")
        assert bool(found["reason"]) == bool(failed)


@pytest.mark.parametrize(
    ("style", "tests", "words"),
    [
        ("asserts", "assert square(2) ==", "the tests are no Python"),
        ("asserts", "x = 1", "no test in the tests"),
        ("check", "x = 1", "define no function check"),
        ("unittest", "import unittest", "no test in the tests"),
        ("pytest", "import nose\ndef test_a(): pass", "want the module nose"),
        ("doctest", "nothing", "no test in the tests"),
    ],
)
def test_broken_tests_are_not_the_programs_fault(style: str, tests: str, words: str) -> None:
    found = outcome(style, SQUARE, tests, "square")
    assert words in found["broken"]
    assert found["passed"] == 0


@pytest.mark.parametrize("style", ["check", "asserts", "unittest", "pytest", "doctest"])
def test_a_program_that_cannot_be_run_fails(style: str) -> None:
    found = outcome(style, "def f(:", CHECK, "square")
    assert (found["passed"], found["failed"], found["broken"]) == (0, 1, "")
    assert "SyntaxError" in found["reason"]


def test_a_check_of_the_programs_own_does_not_count() -> None:
    found = outcome("check", WRONG + "def check(candidate): pass\n", "x = 1", "square")
    assert "define no function check" in found["broken"]
    found = outcome("check", "x = 1", CHECK, "square")
    assert found["reason"] == "there is no function square"


def test_statements_that_make_assertions_are_tests() -> None:
    tests = (
        "def assertion(out, exp):\n    assert out == exp\nrows = [(2, 4), (3, 9)]\n"
        "for x, exp in rows:\n    assertion(square(x), exp)\n"
    )
    assert outcome("asserts", SQUARE, tests)["passed"] == 1
    found = outcome("asserts", WRONG, tests)
    assert (found["passed"], found["failed"], found["broken"]) == (0, 1, "")
    assert "no test" in outcome("asserts", SQUARE, "def assertion(x):\n    assert x\nfor x in ():\n    pass")["broken"]


def test_names_of_pythons_own_stay_its_own() -> None:
    code = "def square(x): return 99.0\nabs = lambda x: -1.0\n"
    assert outcome("asserts", code, "assert abs(square(3.0) - 9) < 1e-6", "square")["failed"] == 1
    assert outcome("asserts", "def sum(a, b): return 6", "assert sum(10, 15) == 6")["passed"] == 1
