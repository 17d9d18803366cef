"""From how processes ended and what they said, to a result: and what is the machine's fault is nobody's failure."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from herd.sandbox.exchange import Ending
from herd.sandbox.limits import CallResult, Limits, ProgramResult, TestVerdict
from herd.sandbox.wire import LOCK_WORD

_TRIES = 3  # a void run is tried twice more
_Result = TypeVar("_Result", CallResult, ProgramResult, TestVerdict)


def judge_ending(ending: Ending, limits: Limits, cpu_seconds: int, answer: str = "answer") -> tuple[str, bool]:
    """Why a run did not end by itself, and whether that is the machine's fault; empty for one that did."""
    if ending.fault:
        return ending.fault, True
    if ending.full:
        limit = limits.answer_bytes if ending.full == answer else limits.output_bytes
        return f"it gave more than {limit:,} bytes", False
    if ending.late:
        if ending.waited > limits.wall_seconds / 2:
            return f"the machine had no core free for {ending.waited:.0f} of {limits.wall_seconds} s", True
        return f"it did not end within {limits.wall_seconds} s", False
    if ending.cause:
        return ending.cause, False
    code = ending.exit_code
    # The kernel counts a limit's time by ticks, and on a busy machine that is more than what it says was used.
    if code == -signal.SIGKILL and ending.cpu_seconds < 0.9 * cpu_seconds:
        if ending.peak_bytes > 0.9 * limits.memory_bytes:
            return f"it used more than {limits.memory_bytes:,} bytes of memory", False
        return "the system ended its process, as when memory runs out", True
    if code in (-signal.SIGKILL, -signal.SIGXCPU):
        return f"it used more than {cpu_seconds} s of processor time", False
    return "", False


def read_values(ending: Ending, answer: bytearray, count: int) -> CallResult:
    """What a process that ended by itself says its calls gave. count: of the calls."""
    if ending.exit_code != 0:
        return CallResult(None, f"its process ended with {ending.exit_code}")
    row = plain_row(answer)
    values = row.get("values")
    if isinstance(values, list) and len(values) == count:
        return CallResult(values)
    return CallResult(None, str(row.get("fault", "it ended without an answer"))[:300])


def read_verdict(row: dict[str, Any], ending: Ending) -> TestVerdict:
    """What tests say that ran in one process with the program."""
    return _verdict(row) if row else TestVerdict(False, f"its process ended with {ending.exit_code}")


def judge_tests(row: dict[str, Any], reasons: list[tuple[str, bool]], endings: list[Ending]) -> TestVerdict:
    """What the tests' process said, and how both ended, as one verdict."""
    (tests_reason, tests_void), (candidate_reason, candidate_void) = reasons
    if tests_void or candidate_void:
        return TestVerdict(None, tests_reason if tests_void else candidate_reason)
    if candidate_reason:
        return TestVerdict(False, candidate_reason, row.get("passed", 0), row.get("failed", 0))
    if tests_reason:
        return TestVerdict(False, f"the tests, with what the program gave them: {tests_reason}")
    if not row:
        return TestVerdict(None, f"the process of the tests ended with {endings[0].exit_code}")
    return _verdict(row)


def _verdict(row: dict[str, Any]) -> TestVerdict:
    passed, failed = int(row.get("passed", 0)), int(row.get("failed", 0))
    if row.get("broken"):
        return TestVerdict(None, str(row["broken"]), passed, failed)
    reason = str(row.get("reason", ""))
    if failed and row.get("limits"):
        reason += (
            f" (the tests want more than two processes can give: {'; '.join(map(str, row['limits']))}; "
            "allow_forgeable runs them in one, where a program can forge its verdict)"
        )
    return TestVerdict(passed > 0 and failed == 0, reason, passed, failed)


def plain_row(answer: bytearray) -> dict[str, Any]:
    """A JSON object after the word that the process was locked; empty for anything else."""
    try:
        row = json.loads(bytes(answer).removeprefix(LOCK_WORD))
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def again(once: Callable[[], _Result]) -> _Result:
    """The result, tried again where it is void; what is void every time says so."""
    for _ in range(_TRIES - 1):
        result = once()
        if not _is_void(result):
            return result
    result = once()
    return replace(result, reason=f"{result.reason} ({_TRIES} times)") if _is_void(result) else result


def _is_void(result: CallResult | ProgramResult | TestVerdict) -> bool:
    return result.passed is None if isinstance(result, TestVerdict) else result.void
