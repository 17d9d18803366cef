"""Code of a model, run behind walls: functions called, programs run, tests held against them.

Expected values never go where the code is. A function's values come back and are compared by whoever asked; tests run
in a process of their own, and the candidate in another.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from herd.core.errors import SettingsError
from herd.sandbox.fleet import ForkServers
from herd.sandbox.launcher import Walls, Wrap, python_paths
from herd.sandbox.limits import CallResult, Limits, Program, ProgramResult, TestStyle, TestVerdict
from herd.sandbox.paired import EXTRA_SECONDS, run_tests_apart, run_tests_together
from herd.sandbox.programs import run_in_language
from herd.sandbox.single import call_once, call_request, program_once, python_job
from herd.sandbox.verdicts import again


class SandboxServer:
    """Runs code of a model. Use it as a context, or take the one that a process shares with `SandboxServer.shared`.

    Safe to use from several threads. At its start it attacks itself, and refuses to serve where something gets through.
    allow_unsafe_execution: also where no wall stands, with limits of time and memory alone. namespaces: whether to give
    runs a root folder, processes and a network of their own where the system has them. wrap: see `ForkServer`.

    Raises SandboxError where nothing may be run here.
    """

    def __init__(
        self, *, allow_unsafe_execution: bool = False, namespaces: bool = True, wrap: Wrap | None = None
    ) -> None:
        self._fleet = ForkServers(unsafe=allow_unsafe_execution, namespaces=namespaces, wrap=wrap)
        self._paths = python_paths()
        self._numbers = itertools.count()
        self._fleet.server_for(self._paths)

    def __enter__(self) -> SandboxServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends all its processes and removes what they wrote."""
        self._fleet.close()

    @staticmethod
    def shared() -> SandboxServer:
        """The one of this process, started at its first use and ended with the process."""
        return _shared(os.getpid())

    @property
    def walls(self) -> Walls:
        """What stands between its runs and the machine."""
        return self._fleet.server_for(self._paths).walls

    def call(
        self,
        code: str,
        function: str,
        inputs: Sequence[Sequence[Any]],
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> CallResult:
        """What `function` of the program `code` gives for each list of arguments, one after another in one process.

        Arguments and values are plain JSON data; a tuple comes back as a list. Raises SandboxError where the process
        cannot be locked up: nothing is run then.
        """
        request, job = call_request(code, function, inputs), python_job("call", limits, limits.cpu_seconds)
        return again(lambda: call_once(self._fleet.server_for(self._paths), job, request, len(inputs), limits))

    def run_program(self, program: Program, limits: Limits = Limits()) -> ProgramResult:  # noqa: B008 - frozen
        """How a whole program ends, and what it writes. Raises SandboxError where its language is not on this machine,
        SettingsError for names of files that lead out of its folder."""
        for name in program.files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or path == PurePosixPath(".") or "\0" in name:
                raise SettingsError(f"a program's file {name!r} does not lie in its folder; take a relative name")
        if program.language != "python":
            folder_name = f"kept-{next(self._numbers)}"
            return again(lambda: run_in_language(self._fleet, program, limits, folder_name))
        request = {"code": program.code, "files": dict(program.files), "arguments": program.arguments}
        job = python_job("program", limits, limits.cpu_seconds)
        return again(lambda: program_once(self._fleet.server_for(self._paths), job, request, program.stdin, limits))

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
        """Whether a Python program passes tests that it never sees. Raises SandboxError where nothing may be run.

        entry_point: the function that `check` is given; for unittest and pytest, the module as which the tests import
        the program (any that is not there, where it is empty). allow_forgeable: runs both in one process, for tests
        that want more than proxies carry; then a program can say itself that it passed.
        """
        request = {
            "tests": tests,
            "style": style,
            "entry_point": entry_point,
            "code": code if allow_forgeable else None,
        }
        own, more = limits.cpu_seconds, limits.cpu_seconds + EXTRA_SECONDS
        jobs = (
            python_job("tests", limits, own if allow_forgeable else more),
            python_job("candidate", limits, own),
        )

        def once() -> TestVerdict:
            server = self._fleet.server_for(self._paths)
            if allow_forgeable:
                return run_tests_together(server, jobs[0], request, limits)
            return run_tests_apart(server, jobs, code, request, limits)

        return again(once)


@functools.cache
def _shared(pid: int) -> SandboxServer:
    server = SandboxServer()
    atexit.register(lambda: server.close() if os.getpid() == pid else None)
    return server
