"""The sandbox server: programs and tests, behind all walls."""

from __future__ import annotations

import sys

import pytest

from herd.core.errors import SandboxError, SettingsError
from herd.sandbox import fleet
from herd.sandbox.limits import Limits, Program, TestVerdict
from herd.sandbox.server import SandboxServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


def test_a_program_has_its_streams_files_and_arguments(server: SandboxServer) -> None:
    code = (
        "import sys, helper\nfrom dataclasses import dataclass\n"
        "print(helper.NAME, sys.argv[1:], input(), sys.stdin.read().split(), __name__)\n"
        "print('to err', file=sys.stderr)\nopen('own', 'w').write('x')\nsys.exit(3)\n"
    )
    program = Program(code, stdin="first\n2 3\n", files={"helper.py": "NAME = 'h'"}, arguments=("a", "b"))
    result = server.run_program(program)
    assert result.stdout == "h ['a', 'b'] first ['2', '3'] __main__\n"
    assert (result.stderr, result.exit_code, result.reason, result.void) == ("to err\n", 3, "", False)
    assert 0 < result.cpu_seconds < 2


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("print(1)", 0, ""),
        ("raise SystemExit", 0, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("1 / 0", 1, 'File "program.py", line 1, in <module>\nZeroDivisionError'),
        ("def f(:", 1, "SyntaxError"),
        ("import os; os.abort()", -6, ""),
        ("import threading\nthreading.Thread(target=lambda: print('late')).start()", 0, ""),
    ],
)
def test_how_programs_end(server: SandboxServer, code: str, exit_code: int, words: str) -> None:
    result = server.run_program(Program(code))
    assert result.exit_code == exit_code
    assert words in result.stderr
    assert "herd" not in result.stderr


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", ".", "a\0b"])
def test_files_that_lead_elsewhere_are_refused(server: SandboxServer, name: str) -> None:
    with pytest.raises(SettingsError, match="does not lie in its folder"):
        server.run_program(Program("x = 1", files={name: "x"}))


def test_runs_are_the_same_every_time(server: SandboxServer) -> None:
    code = "import random\ndef f(): return [random.random(), list({str(n) for n in range(9)})]"
    first, second = (server.call(code, "f", [[]]).values for _ in range(2))
    assert first == second is not None


CHECK = "def check(candidate):\n    assert candidate([3, 1]) == [1, 3]\n"


def test_tests_never_meet_what_they_test(server: SandboxServer) -> None:
    right = server.run_tests("f = sorted", CHECK, style="check", entry_point="f")
    assert right == TestVerdict(True, "", 1, 0)
    wrong = server.run_tests("def f(x): return x", CHECK, style="check", entry_point="f")
    assert (wrong.passed, wrong.reason) == (False, "AssertionError")
    late = server.run_tests("def f(x):\n    while True: pass", CHECK, style="check", entry_point="f", limits=QUICK)
    assert (late.passed, late.reason) == (False, "it used more than 1 s of processor time")
    broken = server.run_tests("f = sorted", "def check(:", style="check", entry_point="f")
    assert broken.passed is None


QUICK = Limits(cpu_seconds=1)


def test_in_one_process_a_program_can_forge_its_verdict(server: SandboxServer) -> None:
    """Why that must be allowed by name."""
    code = "class Liar:\n    __eq__ = lambda s, o: True\ndef f(x): return Liar()"
    apart = server.run_tests(code, CHECK, style="check", entry_point="f")
    assert apart.passed is False
    assert "compared with plain data" in apart.reason
    together = server.run_tests(code, CHECK, style="check", entry_point="f", allow_forgeable=True)
    assert together.passed
    assert server.run_tests("f = 1", CHECK, style="check", entry_point="f", allow_forgeable=True).passed is False


def test_it_refuses_to_serve_when_its_own_attack_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "find_breaches", lambda *_: ["a file of the user"])
    with pytest.raises(SandboxError, match="this got through its walls .*a file of the user"):
        SandboxServer()
    with SandboxServer(allow_unsafe_execution=True) as server:
        assert server.call("def f(): return 1", "f", [[]]).values == [1]


def test_one_is_shared_and_begins_again_when_it_dies(server: SandboxServer) -> None:
    assert SandboxServer.shared() is server
    with SandboxServer() as own:
        process = own._fleet.server_for(own._paths)._process
        assert process is not None
        process.kill()
        process.wait()
        assert own.call("def f(): return 1", "f", [[]]).values == [1]
