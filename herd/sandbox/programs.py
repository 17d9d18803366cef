"""Programs in other languages: compiled behind walls, then run behind narrower ones.

The compiler may start its own parts and read its own files. The program may start nothing but itself: of all files it
may execute only its own, or its interpreter, and it may fork no process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from herd.sandbox.fleet import ForkServers
from herd.sandbox.languages import find_toolchain, loaders
from herd.sandbox.limits import Limits, Program, ProgramResult
from herd.sandbox.single import program_once

_BUILD_BYTES, _BUILD_FILES = 256 << 20, 4096
_COMPILER_MEMORY_BYTES = 2 << 30
_PROCESSES = 256  # threads among them, of one user
_HEAP_SHARE = 0.6  # of the memory that a program may use; the rest is its interpreter's
_OPEN_FILES = 256


def run_in_language(fleet: ForkServers, program: Program, limits: Limits, folder_name: str) -> ProgramResult:
    """How a program ends that is compiled first where its language wants it. kept: a name for its folder meanwhile.

    Raises SandboxError where the machine does not have the language.
    """
    toolchain = find_toolchain(program.language)
    server = fleet.server_for(toolchain.paths)
    source = toolchain.source(program.code)
    files = {**program.files, source: program.code}
    try:
        if toolchain.compiler:
            request = {
                "files": files,
                "command": _fill(toolchain.compiler, source, limits),
                "environment": dict(toolchain.variables),
            }
            job = _job(folder_name, limits, compiling=True)
            build = program_once(server, job, request, "", limits)
            if build.exit_code != 0:
                return _not_compiled(build)
            files = {}
        command = [*_fill(toolchain.runner, source, limits), *program.arguments]
        job = _job(folder_name, limits, reserves=toolchain.reserves) | {
            "readable": toolchain.run_paths,
            "executable": [*loaders(), *([] if command[0].startswith("{scratch}") else [command[0]])],
        }
        request = {"files": files, "command": command, "environment": {}}
        return program_once(server, job, request, program.stdin, limits)
    finally:
        server.drop_scratch(folder_name)


def _not_compiled(build: ProgramResult) -> ProgramResult:
    lines = [line for line in (build.stderr or build.stdout).splitlines() if line.strip()]
    first_error = next(
        (line for line in lines if "error" in line), lines[0] if lines else f"exit code {build.exit_code}"
    )
    reason = f"the compiler: {build.reason}" if build.reason else f"it does not compile: {first_error.strip()[:300]}"
    return ProgramResult(None, build.stdout, build.stderr, reason, build.void)


def _fill(command: Sequence[str], source: str, limits: Limits) -> list[str]:
    """The command with all but the scratch folder filled in, which only the run itself knows."""
    megabytes = max(16, int(_HEAP_SHARE * limits.memory_bytes) >> 20)
    values = {"{source}": source, "{stem}": source.rpartition(".")[0], "{megabytes}": str(megabytes)}
    filled = []
    for word in command:
        for name, value in values.items():
            word = word.replace(name, value)
        filled.append(word)
    return filled


def _job(folder_name: str, limits: Limits, *, compiling: bool = False, reserves: bool = False) -> dict[str, Any]:
    if compiling:
        cpu, address, data = limits.compile_seconds, 0, _COMPILER_MEMORY_BYTES
    else:
        cpu, address, data = limits.cpu_seconds, limits.memory_bytes, 0
        if reserves:
            address, data = 0, limits.memory_bytes
    resources = {
        "cpu_seconds": cpu,
        "address_bytes": address,
        "data_bytes": data,
        "file_bytes": _BUILD_BYTES if compiling else limits.scratch_bytes,
        "processes": _PROCESSES,
        "open_files": _OPEN_FILES,
    }
    return {
        "kind": "execute",
        "profile": "compiler" if compiling else "program",
        "limits": resources,
        "scratch": folder_name,
        "keep": compiling,
        "scratch_bytes": max(limits.scratch_bytes, _BUILD_BYTES) if compiling else limits.scratch_bytes,
        "scratch_files": _BUILD_FILES if compiling else limits.scratch_files,
    }
