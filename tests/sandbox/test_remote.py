"""A service with SandboxFusion's protocol, which is played here."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from herd.core.errors import SandboxError
from herd.sandbox import remote
from herd.sandbox.limits import Limits, Program
from herd.sandbox.remote import RemoteSandbox

asked: list[dict[str, Any]] = []
answers: list[Any] = []


class Service(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked.append({"path": self.path, **body})
        answer = answers.pop(0) if answers else self.run_code(body)
        if isinstance(answer, int):
            self.send_error(answer)
            return
        if answer is None:
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"{")  # and no more
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def run_code(self, body: dict[str, Any]) -> dict[str, Any]:
        command = [sys.executable, "-I", "-c", body["code"]]
        done = subprocess.run(command, input=body["stdin"], capture_output=True, text=True, check=False)
        ran = {"status": "Finished", "execution_time": 0.1, "return_code": done.returncode, "stdout": done.stdout,
               "stderr": done.stderr}  # fmt: skip
        return {"status": "Failed" if done.returncode else "Success", "message": "", "run_result": ran}

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[RemoteSandbox]:
    asked.clear()
    answers.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield RemoteSandbox(f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()


def test_programs_and_calls_go_by_its_protocol(service: RemoteSandbox) -> None:
    result = service.run_program(Program("import sys\nprint(input())\nsys.exit(3)", stdin="hi", files={"a": "é"}))
    assert (result.stdout, result.exit_code, result.void) == ("hi\n", 3, False)
    (row,) = asked
    assert row["path"] == "/run_code"
    assert row["language"] == "python"
    assert row["files"] == {"a": "w6k="}
    assert {"code", "stdin", "compile_timeout", "run_timeout", "fetch_files"} <= row.keys()
    code = 'def f(a):\n    print("{\\"values\\": [9]}")\n    return a + 1'
    assert service.call(code, "f", [[1], [2]]).values == [2, 3]
    assert "ZeroDivisionError" in service.call("def f(): 1 / 0", "f", [[]]).reason
    assert service.call("import os\nos._exit(0)", "f", [[]]).reason == "it ended without an answer"
    service.run_program(Program("x", "javascript"))
    assert asked[-1]["language"] == "nodejs"


RAN = {"status": "Finished", "return_code": 0, "stdout": "", "stderr": ""}


@pytest.mark.parametrize(
    ("answer", "void", "words"),
    [
        ({"status": "SandboxError", "message": "no room"}, True, "no room"),
        ({"status": "Failed", "run_result": RAN | {"status": "TimeLimitExceeded"}}, False, "did not end within 60 s"),
        ({"status": "Failed", "run_result": RAN | {"status": "Error"}}, True, "Error"),
        (
            {"status": "Failed", "compile_result": RAN | {"return_code": 1, "stderr": "bad\n"}},
            False,
            "not compile: bad",
        ),
        ({"status": "Success"}, True, "ran nothing"),
        ({"nothing": 1}, True, "None"),
        ({"status": "Failed", "compile_result": RAN | {"status": "Error"}}, True, "compiler: Error"),
        ({"status": "Failed", "compile_result": RAN | {"status": "TimeLimitExceeded"}}, False, "not compile"),
        ({"status": "Success", "compile_result": {"odd": 1}}, True, "KeyError"),
        ({"status": "Success", "run_result": {"odd": 1}}, True, "KeyError"),
        ({"status": "Success", "run_result": [1]}, True, ""),
        ({"status": "Success", "run_result": RAN | {"stdout": "x" * (1 << 20) + "y"}}, False, "more than 1,048,576"),
        ({"status": "Success", "run_result": RAN | {"stdout": "x" * 2_500_000}}, False, "more than 2,000,000 bytes"),
        (b"[" * 100_000, True, "RecursionError"),
        (None, True, ""),  # it hangs up
        ([], True, ""),
        (503, True, "HTTP 503"),
    ],
)
def test_what_it_says_is_a_failure_or_void(
    service: RemoteSandbox, answer: Any, void: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_ANSWER_BYTES", 2_000_000)
    answers.extend([answer] * 3)
    result = service.run_program(Program("x"))
    assert result.void is void
    assert words in result.reason
    assert result.exit_code is None


def test_tests_run_only_where_forging_is_allowed(service: RemoteSandbox) -> None:
    check = "def check(f):\n    assert f(2) == 4\n"
    with pytest.raises(SandboxError, match="can forge its verdict"):
        service.run_tests("def f(x): return 4", check, style="check", entry_point="f")
    for code, passed in (("def f(x): return 4", True), ("def f(x): return 5", False)):
        verdict = service.run_tests(code, check, style="check", entry_point="f", allow_forgeable=True)
        assert verdict.passed is passed
    with pytest.raises(SandboxError, match="style pytest"):
        service.run_tests("x", "x", style="pytest", allow_forgeable=True)


def test_what_cannot_be_asked_is_refused_and_nobody_there_is_void() -> None:
    with pytest.raises(SandboxError, match="no address"):
        RemoteSandbox("file:///etc/passwd")
    nobody = RemoteSandbox("http://127.0.0.1:9")
    for program in (Program("x", "cobol"), Program("x", arguments=("a",))):
        with pytest.raises(SandboxError):
            nobody.run_program(program)
    assert nobody.run_program(Program("x"), Limits(wall_seconds=1)).void
