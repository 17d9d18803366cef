"""One run of a kind: what is sent to a fork server for it, and what comes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from herd.core.errors import SandboxError
from herd.sandbox.exchange import Ending, Run, follow
from herd.sandbox.launcher import ForkServer
from herd.sandbox.limits import CallResult, Limits, ProgramResult
from herd.sandbox.verdicts import judge_ending, read_values
from herd.sandbox.wire import LOCK_WORD


@dataclass(frozen=True)
class Outcome:
    """A run that ended: what it wrote, and why it was no success in itself; void where that is not its own fault."""

    ending: Ending
    outputs: Mapping[str, bytearray]
    reason: str
    void: bool


def python_job(kind: str, limits: Limits, cpu_seconds: int) -> dict[str, Any]:
    """What a fork server is told of a run in Python."""
    resources = {
        "cpu_seconds": cpu_seconds,
        "address_bytes": limits.memory_bytes,
        "data_bytes": 0,
        "file_bytes": limits.scratch_bytes,
    }
    return {
        "kind": kind,
        "profile": "python",
        "limits": resources,
        "scratch_bytes": limits.scratch_bytes,
        "scratch_files": limits.scratch_files,
    }


def call_request(code: str, function: str, inputs: Sequence[Sequence[Any]]) -> bytes:
    """What a run is asked that calls a function. Raises TypeError or ValueError for inputs that are no plain data."""
    row = {"code": code, "function": function, "inputs": [list(arguments) for arguments in inputs]}
    return json.dumps(row).encode()


def call_once(server: ForkServer, job: dict[str, Any], request: bytes, count: int, limits: Limits) -> CallResult:
    """What the calls of a function give. count: of the calls. Raises SandboxError where nothing was run."""
    with Run() as run:
        for _ in range(3):
            run.give(None)
        run.write(request)
        run.read("answer", limits.answer_bytes + len(LOCK_WORD))
        server.send(run, job)
        outcome = _follow(run, limits, limits.cpu_seconds)
    if outcome.reason:
        return CallResult(None, outcome.reason, outcome.void)
    return read_values(outcome.ending, outcome.outputs["answer"], count)


def program_once(
    server: ForkServer, job: dict[str, Any], request: dict[str, Any], stdin: str, limits: Limits
) -> ProgramResult:
    """How a process with its standard streams ends. Raises SandboxError where nothing was run."""
    with Run() as run:
        run.write(stdin.encode("utf-8", "surrogateescape"))
        run.read("stdout", limits.output_bytes)
        run.read("stderr", limits.output_bytes)
        run.write(json.dumps(request).encode())
        run.read("answer", limits.output_bytes)
        server.send(run, job)
        outcome = _follow(run, limits, job["limits"]["cpu_seconds"])
    stdout, stderr = (outcome.outputs[name].decode("utf-8", "replace") for name in ("stdout", "stderr"))
    start_fault = bytes(outcome.outputs["answer"]).removeprefix(LOCK_WORD).decode(errors="replace")
    if start_fault:
        return ProgramResult(None, stdout, stderr, f"it could not be started: {start_fault}", True)
    exit_code = None if outcome.reason else outcome.ending.exit_code
    return ProgramResult(exit_code, stdout, stderr, outcome.reason, outcome.void, outcome.ending.cpu_seconds)


def _follow(run: Run, limits: Limits, cpu_seconds: int) -> Outcome:
    (ending,) = follow([run], time.monotonic() + limits.wall_seconds)
    reason, void = judge_ending(ending, limits, cpu_seconds)
    answer = bytes(run.outputs["answer"])
    if not answer.startswith(LOCK_WORD):
        if answer:
            raise SandboxError(f"a process for code of a model cannot be locked up: {answer.decode(errors='replace')}")
        reason, void = reason or f"its process ended with {ending.exit_code} before it began", True
    return Outcome(ending, run.outputs, reason, void)
