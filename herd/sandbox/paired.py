"""Tests and the program under test: in two runs that are connected, or, where that is allowed, in one."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from herd.core.errors import SandboxError
from herd.sandbox.exchange import Run, follow
from herd.sandbox.launcher import ForkServer
from herd.sandbox.limits import Limits, TestVerdict
from herd.sandbox.verdicts import judge_ending, judge_tests, plain_row, read_verdict
from herd.sandbox.wire import LOCK_WORD

_VERDICT_BYTES = 1 << 20
# More processor time for the tests than for what they test: they also carry values over.
EXTRA_SECONDS = 3
_NOT_BEGUN = "its process ended before it began"


def run_tests_together(server: ForkServer, job: dict[str, Any], request: dict[str, Any], limits: Limits) -> TestVerdict:
    """Both in one process, which a program can make say what it likes."""
    with Run() as run:
        for _ in range(3):
            run.give(None)
        run.write(json.dumps(request).encode())
        run.read("answer", _VERDICT_BYTES)
        server.send(run, job)
        (ending,) = follow([run], time.monotonic() + limits.wall_seconds)
    reason, void = judge_ending(ending, limits, job["limits"]["cpu_seconds"])
    if reason:
        return TestVerdict(None if void else False, reason)
    row = _locked_row(run)
    return read_verdict(row, ending) if run.outputs["answer"] else TestVerdict(None, _NOT_BEGUN)


def run_tests_apart(
    server: ForkServer,
    jobs: tuple[dict[str, Any], dict[str, Any]],
    code: str,
    request: dict[str, Any],
    limits: Limits,
) -> TestVerdict:
    """Two processes. jobs: of the tests and of the program."""
    question_end, asker_end = os.pipe()
    hearing, telling = os.pipe()
    with Run() as tests, Run() as candidate:
        for run, data, ends in (
            (tests, request, (hearing, asker_end)),
            (candidate, {"code": code}, (question_end, telling)),
        ):
            for _ in range(3):
                run.give(None)
            run.write(json.dumps(data).encode())
            run.read("answer", _VERDICT_BYTES)
            for end in ends:
                run.give(end)
        for run, job in ((candidate, jobs[1]), (tests, jobs[0])):
            server.send(run, job)
        deadline = time.monotonic() + limits.wall_seconds
        endings = follow([tests, candidate], deadline, lambda number, _: number == 0)
    reasons = [
        judge_ending(ending, limits, job["limits"]["cpu_seconds"]) for ending, job in zip(endings, jobs, strict=True)
    ]
    if endings[1].stopped and not (endings[1].late or endings[1].full):  # since the tests had ended
        reasons[1] = ("", False)
    row = _locked_row(tests)
    _locked_row(candidate)
    if not (candidate.outputs["answer"] or endings[1].stopped):
        reasons[1] = (reasons[1][0] or _NOT_BEGUN, True)
    return judge_tests(row, reasons, endings)


def _locked_row(run: Run) -> dict[str, Any]:
    """What a run answered once it was locked. Raises SandboxError where it could not be."""
    answer = bytes(run.outputs["answer"])
    if answer and not answer.startswith(LOCK_WORD):
        raise SandboxError(f"a process for code of a model cannot be locked up: {answer.decode(errors='replace')}")
    return plain_row(run.outputs["answer"])
