"""Code of a model in containers: one for each run, with Docker or Podman, under gVisor's kernel where it is there.

Slower than the fork server by the start of a container, and behind another kernel's walls. An image needs Python 3.11
or later and nothing else; herd's own files are shown to it, read-only.

Source: docs.docker.com/reference/cli/docker/container/run; gvisor.dev/docs/user_guide/quick_start/docker.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from herd.core.errors import SandboxError
from herd.sandbox.exchange import Ending
from herd.sandbox.limits import CallResult, Limits, Program, ProgramResult, TestStyle, TestVerdict
from herd.sandbox.verdicts import again, judge_ending, judge_tests, plain_row, read_values, read_verdict

_PACKAGE = Path(__file__).parents[1]
_START = "import sys; sys.path.insert(0, '/opt'); from herd.sandbox.oneshot import run_once; run_once()"
_RUNTIME_FAILED = (125, 126, 127)  # the runtime itself, or what it was to start
_PROCESSES = 64
_VERDICT_BYTES = 1 << 20


@dataclass
class _Container:
    """A container that was started. outputs: by stream, the name, the most bytes and what was read."""

    process: subprocess.Popen[bytes]
    name: str
    outputs: dict[int, tuple[str, int, bytearray]] = field(default_factory=dict)


class ContainerSandbox:
    """Runs Python programs of a model in containers. engine: `docker` or `podman`. image: with Python. runtime: `runsc`
    for gVisor; empty for the engine's own.

    Raises SandboxError where the engine is not there.
    """

    def __init__(self, image: str = "python:3.11-slim", *, engine: str = "docker", runtime: str = "") -> None:
        program = shutil.which(engine)
        if program is None:
            raise SandboxError(f"there is no {engine} on this machine; install it, or take another tier")
        self.engine, self.image, self.runtime = program, image, runtime

    def command(self, name: str, request: Path, limits: Limits) -> list[str]:
        """How a container is started. name: of the container. request: a folder with `request.json`."""
        runtime = [f"--runtime={self.runtime}"] if self.runtime else []
        return [
            self.engine, "run", "--rm", "--interactive", f"--name={name}", *runtime, "--network=none", "--read-only",
            f"--tmpfs=/scratch:rw,size={limits.scratch_bytes},nr_inodes={limits.scratch_files + 1},mode=1777",
            "--cap-drop=ALL", "--security-opt=no-new-privileges", f"--pids-limit={_PROCESSES}",
            f"--memory={limits.memory_bytes}", f"--memory-swap={limits.memory_bytes}", "--cpus=1",
            "--user=65534:65534", "--workdir=/scratch", "--env=PYTHONHASHSEED=0",
            f"--volume={_PACKAGE}:/opt/herd:ro", f"--volume={request}:/request:ro",
            self.image, "python3", "-s", "-S", "-P", "-B", "-X", "utf8", "-c", _START,
        ]  # fmt: skip

    def call(
        self,
        code: str,
        function: str,
        inputs: Sequence[Sequence[Any]],
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> CallResult:
        """As `SandboxServer.call`."""
        request = {"code": code, "function": function, "inputs": [list(arguments) for arguments in inputs]}

        def once() -> CallResult:
            ending, outputs = self._run("call", request, b"", limits, {1: ("answer", limits.answer_bytes)})
            reason, void = judge_ending(ending, limits, limits.cpu_seconds)
            return CallResult(None, reason, void) if reason else read_values(ending, outputs["answer"], len(inputs))

        return again(once)

    def run_program(self, program: Program, limits: Limits = Limits()) -> ProgramResult:  # noqa: B008 - frozen
        """As `SandboxServer.run_program`, for Python. Raises SandboxError for other languages."""
        if program.language != "python":
            raise SandboxError(f"containers run programs in python, not in {program.language}; take the tier own")
        request = {"code": program.code, "files": dict(program.files), "arguments": program.arguments}
        streams = {1: ("stdout", limits.output_bytes), 2: ("stderr", limits.output_bytes)}

        def once() -> ProgramResult:
            stdin = program.stdin.encode("utf-8", "surrogateescape")
            ending, outputs = self._run("program", request, stdin, limits, streams)
            reason, void = judge_ending(ending, limits, limits.cpu_seconds)
            texts = [outputs[name].decode("utf-8", "replace") for name in ("stdout", "stderr")]
            return ProgramResult(None if reason else ending.exit_code, texts[0], texts[1], reason, void)

        return again(once)

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
        """As `SandboxServer.run_tests`: two containers."""
        request = {
            "tests": tests,
            "style": style,
            "entry_point": entry_point,
            "code": code if allow_forgeable else None,
        }
        if allow_forgeable:

            def together() -> TestVerdict:
                ending, outputs = self._run("tests", request, b"", limits, {2: ("answer", _VERDICT_BYTES)})
                reason, void = judge_ending(ending, limits, limits.cpu_seconds)
                if reason:
                    return TestVerdict(None if void else False, reason)
                return read_verdict(plain_row(outputs["answer"]), ending)

            return again(together)
        return again(lambda: self._tests_apart(code, request, limits))

    def _tests_apart(self, code: str, request: dict[str, Any], limits: Limits) -> TestVerdict:
        question_end, asker_end = os.pipe()
        hearing, telling = os.pipe()
        ends = [question_end, asker_end, hearing, telling]
        with ExitStack() as stack:
            try:
                candidate = self._start(stack, "candidate", {"code": code}, limits, {}, question_end, telling)
                streams = {2: ("answer", _VERDICT_BYTES)}
                tests = self._start(stack, "tests", request, limits, streams, hearing, asker_end)
            finally:
                for end in ends:
                    os.close(end)
            first: list[int] = []
            endings = self._follow([tests, candidate], limits, lambda number: first.append(number) or number == 0)
        reasons = [judge_ending(ending, limits, limits.cpu_seconds) for ending in endings]
        if first[:1] == [0]:
            reasons[1] = ("", False)
        return judge_tests(plain_row(tests.outputs[2][2]), reasons, endings)

    def _run(
        self, kind: str, request: dict[str, Any], stdin: bytes, limits: Limits, streams: dict[int, tuple[str, int]]
    ) -> tuple[Ending, dict[str, bytearray]]:
        with ExitStack() as stack:
            stdin_file = stack.enter_context(tempfile.TemporaryFile())
            stdin_file.write(stdin)
            stdin_file.seek(0)
            container = self._start(stack, kind, request, limits, streams, stdin_file.fileno(), subprocess.PIPE)
            (ending,) = self._follow([container], limits, lambda _: False)
            return ending, {name: data for name, _, data in container.outputs.values()}

    def _start(
        self,
        stack: ExitStack,
        kind: str,
        request: dict[str, Any],
        limits: Limits,
        streams: dict[int, tuple[str, int]],
        stdin: int,
        stdout: int,
    ) -> _Container:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="herd-request-")))
        resources = {"cpu_seconds": limits.cpu_seconds, "address_bytes": 0, "data_bytes": limits.memory_bytes,
                     "file_bytes": limits.scratch_bytes}  # fmt: skip
        (place / "request.json").write_text(json.dumps({"kind": kind, "limits": resources, "request": request}))
        for path, mode in ((place, 0o755), (place / "request.json", 0o644)):
            path.chmod(mode)
        name = f"herd-{uuid.uuid4().hex}"
        process = subprocess.Popen(
            self.command(name, place, limits), stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
        )
        container = _Container(process, name)
        stack.callback(self._end, container)
        for number, stream in ((1, process.stdout), (2, process.stderr)):
            if stream is not None:
                stack.callback(stream.close)
                what, limit = streams.get(number, ("log", 1 << 16))
                container.outputs[number] = (what, limit, bytearray())
        return container

    def _end(self, container: _Container) -> None:
        if container.process.poll() is None:
            killed = subprocess.run([self.engine, "kill", container.name], capture_output=True, check=False)
            if killed.returncode or container.process.poll() is None:  # nobody waits for a client that stays
                container.process.kill()
        container.process.wait()

    def _follow(self, containers: list[_Container], limits: Limits, ended: Callable[[int], bool]) -> list[Ending]:
        deadline = time.monotonic() + limits.wall_seconds
        reading = {}
        for container in containers:
            for number, (what, limit, data) in container.outputs.items():
                stream = cast(Any, container.process.stdout if number == 1 else container.process.stderr)
                reading[stream.fileno()] = (container, what, limit, data)
        full: dict[str, str] = {}
        open_ends, running, late = dict(reading), dict(enumerate(containers)), False
        while running:
            late = time.monotonic() > deadline
            if late:
                for container in running.values():
                    self._end(container)
            for end in select.select(list(open_ends), [], [], 0.02)[0]:
                container, what, limit, data = open_ends[end]
                part = os.read(end, 1 << 16)
                data += part[: limit - len(data)]
                if not part:
                    del open_ends[end]
                elif len(data) >= limit and what != "log":
                    full[container.name] = what
                    self._end(container)
            for number, container in list(running.items()):
                mine = any(row[0] is container for row in open_ends.values())
                if container.process.poll() is not None and not mine:
                    del running[number]
                    if ended(number):
                        for container in running.values():
                            self._end(container)
        return [_ending(container, full.get(container.name, ""), late) for container in containers]


def _ending(container: _Container, full: str, late: bool) -> Ending:
    code = container.process.returncode
    if code in _RUNTIME_FAILED:
        lines = container.outputs[2][2].decode(errors="replace").strip().splitlines()
        return Ending(None, fault=f"the container did not start: {lines[0] if lines else code}")
    if code > 128:  # as a shell says it of a signal
        code = 128 - code
    cpu = 1e9 if code == -signal.SIGXCPU else 0.0
    return Ending(code, cpu, late=late, full=full)
