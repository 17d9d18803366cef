"""Code of a model gives values and touches nothing."""

from __future__ import annotations

import errno
import os
import platform
import socket
import sys
from pathlib import Path

import pytest

from herd.core.errors import SandboxError
from herd.core.rowfiles import iter_rows
from herd.sandbox import jailed, python
from herd.sandbox.python import CallResult, Limits, call

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in jailed.SYSCALL_TABLES,
    reason="the sandbox wants Linux's seccomp",
)


def gave(code: str, *arguments: object, limits: Limits = Limits()) -> CallResult:  # noqa: B008 - frozen
    return call(code, "f", [list(arguments)], limits)


def test_values_come_back_as_plain_data_one_a_call() -> None:
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
        ("import os\ndef f():\n    os.write(3, b'{\"values\": [1, 2]}'); os._exit(0)", "without an answer"),
        ("import os\ndef f():\n    os.write(3, b'[1]'); os._exit(0)", "without an answer"),
    ],
)
def test_a_program_that_gives_nothing_is_wrong_and_the_reason_is_told(code: str, why: str) -> None:
    found = gave(code)
    assert found.values is None
    assert not found.void
    assert why in found.reason


ATTACKS = {
    "reads a file": "open({secret!r}).read()",
    "reads through a descriptor": "__import__('os').open({secret!r}, 0)",
    "writes a file": "open({target!r}, 'w').write('x')",
    "writes with the system's call": "__import__('os').open({target!r}, 0o101)",
    "makes a folder": "__import__('os').mkdir({target!r})",
    "lists a folder": "__import__('os').listdir('/')",
    "removes a file": "__import__('os').remove({secret!r})",
    "loads a module": "__import__('socket')",
    "opens a socket by its number": "call(41, 2, 1, 0)",
    "forks": "__import__('os').fork()",
    "runs a program": "__import__('os').execv('/bin/true', ['true'])",
    "runs a shell": "assert __import__('os').system('touch {target}') == 0",
    "kills its parent": "__import__('os').kill(__import__('os').getppid(), 9)",
    "traces its parent": "call(101, 16, 1, 0, 0)",
    "reads its parent's memory": "call(310, 1, 0, 0, 0, 0, 0)",
    "changes its user": "call(105, 0)",
    "mounts": "call(165, 0, 0, 0, 0, 0)",
    "asks for a ring of calls": "call(425, 8, 0)",
    "lets its limits go": "__import__('resource').setrlimit(9, (-1, -1))",
    "unlocks itself": "call(157, 22, 0, 0, 0, 0)",
    "uses the other set of numbers": "call(0x40000000 + 257, -100, 0, 0, 0)",
}
_CALL = """
import sys
ctypes = sys.modules['ctypes']
def call(*arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    found = libc.syscall(*map(ctypes.c_long, arguments))
    if found == -1:
        raise PermissionError(ctypes.get_errno(), 'refused')
    return found
"""


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_nothing_outside_can_be_reached(attack: str, tmp_path: Path) -> None:
    if "call(" in attack and platform.machine() != "x86_64":
        pytest.skip("numbers of x86_64")
    secret, target = tmp_path / "secret", tmp_path / "target"
    secret.write_text("a secret")
    code = f"{_CALL}\ndef f():\n    {attack.format(secret=str(secret), target=str(target))}\n    return 'done'"
    found = gave(code)
    assert found.values is None, found
    refused = ("PermissionError", "ModuleNotFoundError", "not allowed to raise maximum limit", "AssertionError")
    assert any(words in found.reason for words in refused), found
    assert secret.read_text() == "a secret"
    assert not target.exists()


def test_it_sees_no_environment_and_no_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERD_KEY", "a secret")
    with socket.socket() as held:
        os.set_inheritable(held.fileno(), True)
        code = (
            "import os\ndef f(number):\n    try:\n        os.read(number, 1)\n    except OSError as fault:\n"
            "        return [list(os.environ), fault.errno]"
        )
        ((variables, number),) = gave(code, held.fileno()).values or [(None, None)]
    assert set(variables or ["none"]) <= {"LC_CTYPE", "none"}  # Python itself sets that one
    assert number == errno.EBADF


@pytest.mark.parametrize("start", ["", "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"])
def test_a_program_without_end_is_stopped_by_the_time_it_computes(start: str) -> None:
    found = gave(f"{start}def f():\n    while True: pass", limits=Limits(cpu_seconds=1))
    assert found == CallResult(None, "it used more than 1 s of processor time")


def test_a_program_that_waits_for_ever_is_wrong_and_not_void() -> None:
    waits = "import sys\nlock = sys.modules['_thread'].allocate_lock()\ndef f():\n    lock.acquire(); lock.acquire()"
    found = gave(waits, limits=Limits(wall_seconds=5))
    assert found.values is None
    assert not found.void or "no core free" in found.reason


def test_a_machine_that_ends_it_makes_it_void(monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    def listen(process, deadline, limits):
        os.kill(process.pid, signal.SIGKILL)
        return b"locked\n", None

    monkeypatch.setattr(python, "_listen", listen)
    assert gave("def f(): pass").void


def test_nothing_runs_where_it_cannot_be_locked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_door = tmp_path / "jailed.py"
    ran = tmp_path / "ran"
    text = Path(jailed.__file__).read_text().replace('"x86_64"', '"none"').replace('"aarch64"', '"other"')
    open_door.write_text(text)
    monkeypatch.setattr(python, "_JAILED", open_door)
    with pytest.raises(SandboxError, match="it cannot .*are not known"):
        gave(f"open({str(ran)!r}, 'w')\ndef f(): pass")
    assert not ran.exists()


HUMANEVAL = Path(__file__).parents[3] / "shared" / "data" / "humaneval" / "HumanEval_000-019.jsonl.gz"


@pytest.mark.skipif(not HUMANEVAL.exists(), reason="no HumanEval beside the repository")
def test_humanevals_solutions_pass_their_tests_and_empty_ones_do_not() -> None:
    """Chen et al. 2021: a program is the prompt, a completion and the tests, which raise where it is wrong."""
    verdicts = []
    for _, row in iter_rows(HUMANEVAL):
        end = f"\n{row['test']}\ndef run_tests():\n    check({row['entry_point']})\n    return 'passed'\n"
        for completion in (row["canonical_solution"], "    return None\n"):
            outcome = call(row["prompt"] + completion + end, "run_tests", [[]])
            assert not outcome.void, outcome
            verdicts.append(outcome.values == ["passed"])
    assert verdicts == [True, False] * 20
