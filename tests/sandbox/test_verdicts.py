"""What is a failure, and what is nobody's."""

from __future__ import annotations

import json

import pytest

from herd.sandbox.exchange import Ending
from herd.sandbox.limits import CallResult, Limits, TestVerdict
from herd.sandbox.verdicts import again, judge_ending, judge_tests, plain_row, read_values, read_verdict

LIMITS = Limits(cpu_seconds=2, wall_seconds=10, memory_bytes=1 << 20)
ENDINGS = [
    (Ending(0), "", False),
    (Ending(3), "", False),
    (Ending(None, fault="no process"), "no process", True),
    (Ending(-9, full="answer"), "more than 1,048,576 bytes", False),
    (Ending(-9, late=True, waited=1.0), "did not end within 10 s", False),
    (Ending(-9, late=True, waited=6.0), "no core free for 6 of 10 s", True),
    (Ending(-9, cause="it made more than 3 files"), "more than 3 files", False),
    (Ending(-9, 0.3), "the system ended its process", True),
    (Ending(-9, 0.3, peak_bytes=1 << 20), "bytes of memory", False),
    (Ending(-9, 1.9), "more than 2 s of processor time", False),
    (Ending(-24, 2.0), "more than 2 s of processor time", False),
]


@pytest.mark.parametrize(("ending", "words", "void"), ENDINGS)
def test_why_a_run_did_not_end_by_itself(ending: Ending, words: str, void: bool) -> None:
    reason, is_void = judge_ending(ending, LIMITS, 2)
    assert words in reason
    assert bool(words) == bool(reason)
    assert is_void == void


def answer(row: object) -> bytearray:
    return bytearray(b"locked\n" + json.dumps(row).encode())


@pytest.mark.parametrize("row", [{"values": [1, 2]}, {"values": 1}, [1], "x", {"fault": ["odd"]}, {}])
def test_only_as_many_values_as_calls_are_values(row: object) -> None:
    found = read_values(Ending(0), answer(row), 1)
    assert found.values is None
    assert found.reason
    assert read_values(Ending(0), answer({"values": [1]}), 1) == CallResult([1])
    assert read_values(Ending(1), answer({"values": [1]}), 1).values is None


def test_what_is_no_json_is_no_row() -> None:
    for data in (b"", b"locked\n", b"locked\nx", b"locked\n" + b"[" * 100_000, b"locked\n[]"):
        assert plain_row(bytearray(data)) == {}


FINE, FAIL, VOID = ("", False), ("it used too much", False), ("the machine", True)
PASSED, FAILED = {"passed": 2, "failed": 0}, {"passed": 1, "failed": 1, "reason": "no", "limits": ["odd"]}


@pytest.mark.parametrize(
    ("row", "tests", "candidate", "passed", "words"),
    [
        (PASSED, FINE, FINE, True, ""),
        (FAILED, FINE, FINE, False, "allow_forgeable"),
        (PASSED, FINE, FAIL, False, "too much"),
        (PASSED, FAIL, FINE, False, "with what the program gave them"),
        (FAILED, VOID, FINE, None, "machine"),
        (FAILED, FINE, VOID, None, "machine"),
        ({}, FINE, FINE, None, "ended with 7"),
        ({"passed": 0, "failed": 0, "broken": "no test"}, FINE, FINE, None, "no test"),
        ({"passed": 0, "failed": 0}, FINE, FINE, False, ""),
    ],
)
def test_two_processes_make_one_verdict(row: dict, tests, candidate, passed: bool | None, words: str) -> None:
    verdict = judge_tests(row, [tests, candidate], [Ending(7), Ending(0)])
    assert verdict.passed is passed
    assert words in verdict.reason


def test_one_process_that_says_nothing_has_failed() -> None:
    assert read_verdict({}, Ending(3)) == TestVerdict(False, "its process ended with 3")
    assert read_verdict(PASSED, Ending(0)).passed


def test_void_is_tried_twice_again_and_then_said() -> None:
    results = [CallResult(None, "busy", True), CallResult(None, "busy", True), CallResult([1])]
    assert again(lambda: results.pop(0)) == CallResult([1])
    assert again(lambda: CallResult(None, "busy", True)) == CallResult(None, "busy (3 times)", True)
    verdicts = [TestVerdict(None, "busy"), TestVerdict(False, "no")]
    assert again(lambda: verdicts.pop(0)) == TestVerdict(False, "no")
