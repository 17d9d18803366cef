"""Functions that a model wrote, called in a process of their own that can touch nothing.

Only values come back: what they should be, and whether they are, is the caller's to know, so that no program can forge
that it is right.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd.core.errors import SandboxError
from herd.core.settings import Positive, settings

_JAILED = Path(__file__).with_name("jailed.py")
_LOCKED = b"locked\n"


@settings
class Limits:
    """What one program may use. cpu_seconds: of processor time, starting up among it. memory_bytes: of addresses.
    answer_bytes: of what its functions give, as JSON. wall_seconds: until nobody waits any longer."""

    cpu_seconds: Positive = 4
    memory_bytes: Positive = 512 << 20
    answer_bytes: Positive = 1 << 20
    wall_seconds: Positive = 60


@dataclass(frozen=True)
class Outcome:
    """What calls of a function gave. values: plain data, one a call; None where there are none. why: there are none, in
    words. void: whether that is the machine's fault and not the program's."""

    values: list[Any] | None
    why: str = ""
    void: bool = False


def call(code: str, function: str, inputs: Sequence[Sequence[Any]], limits: Limits = Limits()) -> Outcome:  # noqa: B008 - frozen
    """What `function` of the program `code` gives for each list of arguments, one after another in one process.

    Arguments and values are plain JSON data; a tuple comes back as a list. Raises SandboxError where the process cannot
    be locked up: nothing is run then.
    """
    request = {
        "code": code,
        "function": function,
        "inputs": [list(one) for one in inputs],
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_bytes,
    }
    command = [sys.executable, "-I", "-S", str(_JAILED)]
    deadline = time.monotonic() + limits.wall_seconds
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}, cwd="/"
    ) as process:
        try:
            assert process.stdin is not None
            try:
                process.stdin.write(json.dumps(request).encode("utf-8", "replace"))
                process.stdin.close()
            except BrokenPipeError:
                pass  # it died before it read; its end says why
            told, stopped = _listen(process, deadline, limits)
            late = not stopped and not _ends(process.pid, deadline)
        finally:
            os.kill(process.pid, signal.SIGKILL)  # Popen's own would read the status that is read next
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    if late:  # it closed what it answers through, and went on
        stopped = Outcome(None, f"it did not end within {limits.wall_seconds} s")
    if not told.startswith(_LOCKED):
        return _never_locked(told, process.returncode, stopped)
    if stopped is not None:
        return stopped
    return _read(told.removeprefix(_LOCKED), process.returncode, cpu, len(inputs), limits)


def _ends(pid: int, deadline: float) -> bool:
    """Whether the process ends by itself until then; its status stays to be read."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _listen(process: subprocess.Popen[bytes], deadline: float, limits: Limits) -> tuple[bytes, Outcome | None]:
    """All that the process says, and why it is not to go on where it is to be stopped."""
    assert process.stdout is not None
    told = b""
    while True:
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return told, _late(process.pid, limits)
        part = os.read(process.stdout.fileno(), 1 << 16)
        if not part:
            return told, None
        told += part
        if len(told) > limits.answer_bytes + len(_LOCKED):
            return told, Outcome(None, f"it gave more than {limits.answer_bytes:,} bytes")


def _late(pid: int, limits: Limits) -> Outcome:
    """A program that waits for what never comes is wrong; one that was waiting for a core says nothing of itself."""
    try:
        waited = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        waited = 0.0
    if waited > limits.wall_seconds / 2:
        return Outcome(None, f"the machine had no core free for {waited:.0f} of {limits.wall_seconds} s", void=True)
    return Outcome(None, f"it did not end within {limits.wall_seconds} s")


def _never_locked(told: bytes, code: int, stopped: Outcome | None) -> Outcome:
    """Raises SandboxError where the process said that it cannot be locked up."""
    if told:
        why = told.decode(errors="replace").strip()
        raise SandboxError(
            f"code of a model runs only locked up, and here it cannot be ({why}); take Linux with seccomp"
        )
    return Outcome(None, stopped.why if stopped else f"its process ended with {code} before it began", void=True)


def _read(told: bytes, code: int, cpu: float, count: int, limits: Limits) -> Outcome:
    """What a process said that ended by itself. count: of the calls."""
    if code == -9 and cpu < 0.9 * limits.cpu_seconds:
        return Outcome(None, "the system ended its process, as when memory runs out", void=True)
    if code == -9:
        return Outcome(None, f"it used more than {limits.cpu_seconds} s of processor time")
    if code != 0:
        return Outcome(None, f"its process ended with {code}")
    try:
        row = json.loads(told)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return Outcome(None, "it ended without an answer")
    values = row.get("values")
    if isinstance(values, list) and len(values) == count:
        return Outcome(values)
    return Outcome(None, str(row.get("fault", "it ended without an answer"))[:300])
