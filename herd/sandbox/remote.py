"""Code of a model on another machine, by the protocol of SandboxFusion's service.

The service runs a program and says how it ended; what it isolates is its own matter. Functions are called by a program
that prints what they give; expected values stay here.

Source: bytedance.github.io/SandboxFusion, "API", POST /run_code.
"""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

from herd.core.errors import SandboxError
from herd.sandbox.limits import CallResult, Limits, Program, ProgramResult, TestStyle, TestVerdict
from herd.sandbox.verdicts import again

_LANGUAGES = {
    "python": "python", "javascript": "nodejs", "typescript": "typescript", "cpp": "cpp", "rust": "rust", "go": "go",
    "java": "java",
}  # fmt: skip
_ANSWER_BYTES = 32 << 20
_CALLS = """
import json as _json, sys as _sys
_request = _json.load(_sys.stdin)
try:
    _names = {{"__name__": "program"}}
    exec(compile(_request["code"], "<program>", "exec"), _names)
    _row = {{"values": [_names[_request["function"]](*_one) for _one in _request["inputs"]]}}
    _text = _json.dumps(_row, allow_nan=False)
except BaseException as _fault:
    _text = _json.dumps({{"fault": f"{{type(_fault).__name__}}: {{_fault}}"[:300]}})
print("\\n{marker}" + _text)
"""


class RemoteSandbox:
    """Runs programs of a model with a service. address: such as `http://host:8080`."""

    def __init__(self, address: str) -> None:
        if not address.startswith(("http://", "https://")):
            raise SandboxError(f"{address!r} is no address of a sandbox service; write http://HOST:PORT")
        self.address = address.rstrip("/")

    def run_program(self, program: Program, limits: Limits = Limits()) -> ProgramResult:  # noqa: B008 - frozen
        """As `SandboxServer.run_program`. Raises SandboxError for a language that the service does not have."""
        if program.language not in _LANGUAGES:
            languages = ", ".join(_LANGUAGES)
            raise SandboxError(f"the service at {self.address} runs {languages}, not {program.language}")
        if program.arguments:
            raise SandboxError("the service's protocol has no arguments of a command line; give them on standard input")
        return again(lambda: self._once(program, limits))

    def call(
        self,
        code: str,
        function: str,
        inputs: Sequence[Sequence[Any]],
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> CallResult:
        """As `SandboxServer.call`."""
        marker = secrets.token_hex(16)  # so that what else is printed is not taken for values
        request = {"code": code, "function": function, "inputs": [list(arguments) for arguments in inputs]}
        result = self.run_program(Program(_CALLS.format(marker=marker), stdin=json.dumps(request)), limits)
        if result.reason or result.void:
            return CallResult(None, result.reason, result.void)
        try:
            row = json.loads(result.stdout.rpartition(f"\n{marker}")[2])
        except (ValueError, RecursionError):
            row = {}
        values = row.get("values") if isinstance(row, dict) else None
        if isinstance(values, list) and len(values) == len(inputs):
            return CallResult(values)
        fault = row.get("fault") if isinstance(row, dict) else None
        return CallResult(None, str(fault or "it ended without an answer")[:300])

    def run_tests(
        self,
        code: str,
        tests: str,
        *,
        style: TestStyle,
        entry_point: str = "",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        allow_forgeable: bool = False,
    ) -> TestVerdict:
        """Program and tests as one program, which passes when it ends with 0. Raises SandboxError unless that is
        allowed: the service runs one process, in which a program can forge its verdict."""
        if not allow_forgeable:
            raise SandboxError(
                "a sandbox service runs a program and its tests in one process, where the program can forge its "
                "verdict; take the tier own, or allow_forgeable"
            )
        ends = {"check": f"\ncheck({entry_point})\n", "unittest": "\nunittest.main()\n"}
        if style not in ("check", "asserts", "unittest"):
            raise SandboxError(f"tests of the style {style} do not run with a service; take the tier own")
        start = "import unittest\n" if style == "unittest" else ""
        result = self.run_program(Program(f"{start}{code}\n{tests}{ends.get(style, '')}"), limits)
        if result.void:
            return TestVerdict(None, result.reason)
        last = result.stderr.strip().splitlines()[-1:] or [f"exit code {result.exit_code}"]
        passed = result.exit_code == 0 and not result.reason
        return TestVerdict(passed, "" if passed else result.reason or last[0][:300], int(passed), int(not passed))

    def _once(self, program: Program, limits: Limits) -> ProgramResult:
        files = {
            name: base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()
            for name, text in program.files.items()
        }
        body = {
            "code": program.code,
            "language": _LANGUAGES[program.language],
            "stdin": program.stdin,
            "compile_timeout": limits.compile_seconds,
            "run_timeout": limits.wall_seconds,
            "files": files,
            "fetch_files": [],
        }
        try:
            row = self._post("/run_code", body, 2 * limits.wall_seconds + limits.compile_seconds)
            return _result(row, limits)
        except _LongAnswerError as fault:
            return ProgramResult(None, reason=str(fault))
        except (OSError, http.client.HTTPException, *_OTHER_WORDS) as fault:
            words = f"{type(fault).__name__} {fault}" if isinstance(fault, _OTHER_WORDS) else fault
            return ProgramResult(None, reason=f"the service at {self.address}: {words}", void=True)

    def _post(self, path: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, data, kind)  # noqa: S310 - http alone, see __init__
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
                text = answer.read(_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as fault:
            fault.close()
            raise OSError(f"HTTP {fault.code}") from None
        if len(text) > _ANSWER_BYTES:  # what the program wrote: it must not be able to make itself void
            raise _LongAnswerError(f"it gave more than {_ANSWER_BYTES:,} bytes")
        return json.loads(text)


class _LongAnswerError(Exception):
    """The program's output is more than is read of the service's answer."""


# What an answer raises that is not in the protocol's words.
_OTHER_WORDS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


def _result(row: dict[str, Any], limits: Limits) -> ProgramResult:
    """How a program ended, by the service's words. Raises one of `_OTHER_WORDS` for other words."""
    status = row.get("status")
    if status not in ("Success", "Failed"):
        return ProgramResult(None, reason=f"the service: {status}: {str(row.get('message', ''))[:300]}", void=True)
    compiled, ran = row.get("compile_result"), row.get("run_result")
    if compiled and compiled["status"] not in ("Finished", "TimeLimitExceeded"):
        return ProgramResult(None, reason=f"the service's compiler: {compiled['status']}", void=True)
    if compiled and (compiled["status"] != "Finished" or compiled.get("return_code")):
        first_line = (compiled.get("stderr") or compiled.get("stdout") or "").strip().partition("\n")[0]
        return ProgramResult(
            None, stderr=compiled.get("stderr") or "", reason=f"it does not compile: {first_line[:300]}"
        )
    if not ran:
        return ProgramResult(None, reason=f"the service ran nothing: {str(row.get('message', ''))[:300]}", void=True)
    whole = [str(ran.get(name) or "") for name in ("stdout", "stderr")]
    texts = [text[: limits.output_bytes] for text in whole]
    if ran["status"] == "TimeLimitExceeded":
        return ProgramResult(None, texts[0], texts[1], f"it did not end within {limits.wall_seconds} s")
    if ran["status"] != "Finished":
        return ProgramResult(None, texts[0], texts[1], f"the service: {ran['status']}", True)
    if any(len(text.encode("utf-8", "replace")) > limits.output_bytes for text in whole):
        return ProgramResult(None, texts[0], texts[1], f"it gave more than {limits.output_bytes:,} bytes")
    return ProgramResult(ran.get("return_code"), texts[0], texts[1], cpu_seconds=ran.get("execution_time") or 0.0)
