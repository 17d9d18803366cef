"""One run of a kind."""

from __future__ import annotations

import json

import pytest

from herd.core.errors import SandboxError
from herd.sandbox import single
from herd.sandbox.exchange import Ending, Run
from herd.sandbox.limits import Limits
from herd.sandbox.single import call_once, call_request, program_once, python_job


class Deaf:
    """A fork server that does nothing."""

    def send(self, run: Run, job: dict) -> None:
        pass


def answers(monkeypatch: pytest.MonkeyPatch, ending: Ending, **outputs: bytes) -> None:
    def follow(runs: list[Run], deadline: float) -> list[Ending]:
        for name, data in outputs.items():
            runs[0].outputs[name][:] = data
        return [ending]

    monkeypatch.setattr(single, "follow", follow)


def test_requests_are_plain_data() -> None:
    assert json.loads(call_request("x", "f", [(1, 2)])) == {"code": "x", "function": "f", "inputs": [[1, 2]]}
    with pytest.raises(TypeError):
        call_request("x", "f", [[object()]])
    assert python_job("call", Limits(memory_bytes=5), 3)["limits"]["address_bytes"] == 5


def test_a_run_that_could_not_be_locked_is_refused_and_one_that_never_began_is_void(monkeypatch) -> None:
    job = python_job("call", Limits(), 4)
    answers(monkeypatch, Ending(1), answer=b"OSError: no filter\n")
    with pytest.raises(SandboxError, match="cannot be locked up: OSError: no filter"):
        call_once(Deaf(), job, b"{}", 1, Limits())  # type: ignore[arg-type]
    answers(monkeypatch, Ending(1))
    found = call_once(Deaf(), job, b"{}", 1, Limits())  # type: ignore[arg-type]
    assert found.void
    assert "before it began" in found.reason
    answers(monkeypatch, Ending(0), answer=b'locked\n{"values": [4]}')
    assert call_once(Deaf(), job, b"{}", 1, Limits()).values == [4]  # type: ignore[arg-type]


def test_a_program_that_could_not_be_started_is_void(monkeypatch) -> None:
    answers(monkeypatch, Ending(127), answer=b"locked\n/bin/x: Permission denied", stdout=b"\xff", stderr=b"")
    found = program_once(Deaf(), python_job("execute", Limits(), 4), {}, "", Limits())  # type: ignore[arg-type]
    assert (found.exit_code, found.void, found.stdout) == (None, True, "\ufffd")
    answers(monkeypatch, Ending(3), answer=b"locked\n", stdout=b"hi", stderr=b"")
    found = program_once(Deaf(), python_job("execute", Limits(), 4), {}, "", Limits())  # type: ignore[arg-type]
    assert (found.exit_code, found.void, found.stdout) == (3, False, "hi")
