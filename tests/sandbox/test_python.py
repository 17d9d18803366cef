"""Code of a model gives values and touches nothing."""

from __future__ import annotations

import errno
import os
import platform
import socket
import sys
from pathlib import Path

import pytest

from herd.core.rowfiles import iter_rows
from herd.sandbox.launcher import ForkServer
from herd.sandbox.python import CallResult, Limits, call
from herd.sandbox.server import SandboxServer

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="the sandbox wants Linux"
)


def gave(code: str, *arguments: object, limits: Limits = Limits()) -> CallResult:  # noqa: B008 - frozen
    return call(code, "f", [list(arguments)], limits)


def test_values_come_back_as_plain_data_one_a_call(server: SandboxServer) -> None:
    code = (
        "import math\nfrom collections import Counter\ndef f(a, b=2):\n    print('hello')\n    return [a + b, (a, b)]"
    )
    assert call(code, "f", [[1], [1, 5]]) == CallResult([[3, [1, 2]], [6, [1, 5]]])


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def g(): pass", "there is no function f"),
        ("def f(:", "SyntaxError"),
        ("def f(): return 1 / 0", "ZeroDivisionError"),
        ("def f(): raise SystemExit(0)", "SystemExit"),
        ("import os\ndef f(): os._exit(0)", "without an answer"),
        ("import os\ndef f(): os.abort()", "ended with"),
        ("def f(): return object()", "no plain data"),
        ("def f(): return float('nan')", "no plain data"),
        ("def f(): return f()", "RecursionError"),
        ("def f(): return 'x' * 3_000_000", "more than 1,048,576 bytes"),
        ("def f(): return bytearray(1 << 40)", "MemoryError"),
        ("def f(): return {}['f']", "KeyError"),
        ("import os\ndef f():\n    os.write(4, b'{\"values\": [1, 2]}'); os._exit(0)", "without an answer"),
        ("import os\ndef f():\n    os.write(4, b'[1]'); os._exit(0)", "without an answer"),
        ("import socket\ndef f(): return socket.socket()", "PermissionError"),
    ],
)
def test_a_program_that_gives_nothing_is_wrong_and_the_reason_is_told(
    code: str, why: str, server: SandboxServer
) -> None:
    found = gave(code)
    assert found.values is None
    assert not found.void
    assert why in found.reason


def test_it_sees_no_environment_and_no_open_files(server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_KEY", "a secret")
    with socket.socket() as held:
        os.set_inheritable(held.fileno(), True)
        code = (
            "import os\ndef f(number):\n    try:\n        os.read(number, 1)\n    except OSError as fault:\n"
            "        return [list(os.environ), fault.errno]"
        )
        ((variables, number),) = gave(code, max(held.fileno(), 50)).values or [(None, None)]
    assert set(variables or ["none"]) <= {"LC_CTYPE", "PATH", "HOME", "TMPDIR", "LANG"}
    assert number == errno.EBADF


@pytest.mark.parametrize("start", ["", "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"])
def test_a_program_without_end_is_stopped_by_the_time_it_computes(start: str, server: SandboxServer) -> None:
    found = gave(f"{start}def f():\n    while True: pass", limits=Limits(cpu_seconds=1))
    assert found == CallResult(None, "it used more than 1 s of processor time")


def test_a_program_that_waits_for_ever_is_wrong_and_not_void(server: SandboxServer) -> None:
    found = gave("import time\ndef f(): time.sleep(99)", limits=Limits(wall_seconds=2))
    assert found.values is None
    assert not found.void or "no core free" in found.reason


def test_a_machine_that_ends_it_makes_it_void(server: SandboxServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run is told to end at once, by nobody's wish: as when the system runs out of memory."""
    send = ForkServer.send

    def send_and_end(self: ForkServer, run, job: dict) -> None:
        send(self, run, job)
        run.status.send(b"end")

    monkeypatch.setattr(ForkServer, "send", send_and_end)
    found = gave("import time\ndef f(): time.sleep(9)")
    assert found.void
    assert found.reason.endswith("(3 times)")


HUMANEVAL = Path(__file__).parents[3] / "shared" / "data" / "humaneval" / "HumanEval_000-019.jsonl.gz"


@pytest.mark.skipif(not HUMANEVAL.exists(), reason="no HumanEval beside the repository")
def test_humanevals_solutions_pass_their_tests_and_empty_ones_do_not(server: SandboxServer) -> None:
    """Chen et al. 2021: a program is the prompt, a completion and the tests, which raise where it is wrong."""
    verdicts = []
    for _, row in iter_rows(HUMANEVAL):
        for completion in (row["canonical_solution"], "    return None\n"):
            program = row["prompt"] + completion
            verdict = server.run_tests(program, row["test"], style="check", entry_point=row["entry_point"])
            verdicts.append(verdict.passed)
    assert verdicts == [True, False] * 20
