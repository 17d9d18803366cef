"""Tests and program in two runs; more is in test_server and in the corpus."""

from __future__ import annotations

import sys
from typing import Any, cast

import pytest

from herd.sandbox import paired
from herd.sandbox.exchange import Ending
from herd.sandbox.limits import Limits
from herd.sandbox.server import SandboxServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


def test_what_a_program_does_to_the_pipe_is_its_own_failure(server: SandboxServer) -> None:
    for body in ("os.close(6)", "os.write(6, b'\\0\\0\\0\\2{}')", "os._exit(7)", "os.kill(os.getpid(), 15)"):
        code = f"import os\ndef f():\n    {body}\n    return 1"
        verdict = server.run_tests(code, "assert f() == 1", style="asserts", limits=Limits(cpu_seconds=2))
        assert verdict.passed is False, verdict


def test_output_and_time_go_over(server: SandboxServer) -> None:
    code = "def greet(name): print('hello', name)"
    verdict = server.run_tests(code, ">>> greet('a')\nhello a\n", style="doctest")
    assert verdict.passed
    tests = "def test_a(capsys):\n    greet('b')\n    assert capsys.readouterr().out == 'hello b\\n'\n"
    assert server.run_tests(code, tests, style="pytest").passed


class SilentServer:
    """Starts nothing."""

    def send(self, run: object, job: object) -> None:
        pass


def test_a_run_that_never_began_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    job, silent = {"limits": {"cpu_seconds": 2}}, cast(Any, SilentServer())
    monkeypatch.setattr(paired, "follow", lambda *_: [Ending(1)])
    assert paired.run_tests_together(silent, job, {}, Limits()).passed is None
    monkeypatch.setattr(paired, "follow", lambda *_: [Ending(0), Ending(1)])
    verdict = paired.run_tests_apart(silent, (job, job), "", {}, Limits())
    assert (verdict.passed, verdict.reason) == (None, "its process ended before it began")
