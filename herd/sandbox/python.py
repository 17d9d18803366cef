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
from herd.core.settings import PositiveInt, settings

_JAILED = Path(__file__).with_name("jailed.py")
_LOCKED = b"locked\n"


@settings
class Limits:
    """What one program may use. cpu_seconds: of processor time, starting up among it. memory_bytes: of addresses.
    answer_bytes: of what its functions give, as JSON. wall_seconds: until nobody waits any longer."""

    cpu_seconds: PositiveInt = 4
    memory_bytes: PositiveInt = 512 << 20
    answer_bytes: PositiveInt = 1 << 20
    wall_seconds: PositiveInt = 60


@dataclass(frozen=True)
class CallResult:
    """What calls of a function gave. values: plain data, one a call; None where there are none. reason: there are none,
    in words. void: whether that is the machine's fault and not the program's."""

    values: list[Any] | None
    reason: str = ""
    void: bool = False


def call(code: str, function: str, inputs: Sequence[Sequence[Any]], limits: Limits = Limits()) -> CallResult:  # noqa: B008 - frozen
    """What `function` of the program `code` gives for each list of arguments, one after another in one process.

    Arguments and values are plain JSON data; a tuple comes back as a list. Raises SandboxError where the process cannot
    be locked up: nothing is run then.
    """
    request = {
        "code": code,
        "function": function,
        "inputs": [list(arguments) for arguments in inputs],
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
            output, early_result = _listen(process, deadline, limits)
            late = not early_result and not _ends(process.pid, deadline)
        finally:
            os.kill(process.pid, signal.SIGKILL)  # Popen's own would read the status that is read next
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    if late:  # it closed what it answers through, and went on
        early_result = CallResult(None, f"it did not end within {limits.wall_seconds} s")
    if not output.startswith(_LOCKED):
        return _never_locked(output, process.returncode, early_result)
    if early_result is not None:
        return early_result
    return _read(output.removeprefix(_LOCKED), process.returncode, cpu, len(inputs), limits)


def _ends(pid: int, deadline: float) -> bool:
    """Whether the process ends by itself until then; its status stays to be read."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True


def _listen(process: subprocess.Popen[bytes], deadline: float, limits: Limits) -> tuple[bytes, CallResult | None]:
    """All that the process says, and why it is not to go on where it is to be stopped."""
    assert process.stdout is not None
    output = b""
    while True:
        if not select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return output, _late(process.pid, limits)
        part = os.read(process.stdout.fileno(), 1 << 16)
        if not part:
            return output, None
        output += part
        if len(output) > limits.answer_bytes + len(_LOCKED):
            return output, CallResult(None, f"it gave more than {limits.answer_bytes:,} bytes")


def _late(pid: int, limits: Limits) -> CallResult:
    """A program that waits for what never comes is wrong; one that was waiting for a core says nothing of itself."""
    try:
        waited = int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        waited = 0.0
    if waited > limits.wall_seconds / 2:
        return CallResult(None, f"the machine had no core free for {waited:.0f} of {limits.wall_seconds} s", void=True)
    return CallResult(None, f"it did not end within {limits.wall_seconds} s")


def _never_locked(output: bytes, code: int, early_result: CallResult | None) -> CallResult:
    """Raises SandboxError where the process said that it cannot be locked up."""
    if output:
        why = output.decode(errors="replace").strip()
        raise SandboxError(
            f"code of a model runs only locked up, and here it cannot be ({why}); take Linux with seccomp"
        )
    return CallResult(
        None, early_result.reason if early_result else f"its process ended with {code} before it began", void=True
    )


def _read(output: bytes, code: int, cpu: float, count: int, limits: Limits) -> CallResult:
    """What a process said that ended by itself. count: of the calls."""
    # The kernel counts a limit's time by ticks, and on a busy machine that is more than what it says was used.
    if code == -signal.SIGKILL and cpu < 0.9 * limits.cpu_seconds:
        return CallResult(None, "the system ended its process, as when memory runs out", void=True)
    if code in (-signal.SIGKILL, -signal.SIGXCPU):
        return CallResult(None, f"it used more than {limits.cpu_seconds} s of processor time")
    if code != 0:
        return CallResult(None, f"its process ended with {code}")
    try:
        row = json.loads(output)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return CallResult(None, "it ended without an answer")
    values = row.get("values")
    if isinstance(values, list) and len(values) == count:
        return CallResult(values)
    return CallResult(None, str(row.get("fault", "it ended without an answer"))[:300])
