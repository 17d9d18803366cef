"""Where code of a model runs: behind walls of our own, of bubblewrap, in containers, or on another machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from herd.core.errors import SandboxError, SettingsError, did_you_mean
from herd.sandbox.containers import ContainerSandbox
from herd.sandbox.limits import CallResult, Limits, Program, ProgramResult, TestStyle, TestVerdict
from herd.sandbox.remote import RemoteSandbox
from herd.sandbox.server import SandboxServer

TIERS = ("own", "bubblewrap", "gvisor", "container", "remote")


class Sandbox(Protocol):
    """What every tier does; `SandboxServer` says how."""

    def call(self, code: str, function: str, inputs: Sequence[Sequence[Any]], limits: Limits = ...) -> CallResult: ...

    def run_program(self, program: Program, limits: Limits = ...) -> ProgramResult: ...

    def run_tests(
        self,
        code: str,
        tests: str,
        *,
        style: TestStyle,
        entry_point: str = ...,
        limits: Limits = ...,
        allow_forgeable: bool = ...,
    ) -> TestVerdict: ...


def open_sandbox(
    tier: str = "own", *, address: str = "", image: str = "python:3.11-slim", allow_unsafe_execution: bool = False
) -> Sandbox:
    """A sandbox of a tier. address: of the service, for remote. image: for gvisor and container.

    Raises SandboxError where the tier cannot be had here, SettingsError for one that does not exist.
    """
    if tier == "own":
        return SandboxServer(allow_unsafe_execution=True) if allow_unsafe_execution else SandboxServer.shared()
    if tier == "bubblewrap":
        return SandboxServer(wrap=("bubblewrap", bubblewrap_command))
    if tier == "remote":
        if not address:
            raise SettingsError("the tier remote needs the address of a service, as http://HOST:PORT")
        return RemoteSandbox(address)
    if tier in ("gvisor", "container"):
        engine = "podman" if shutil.which("podman") and not shutil.which("docker") else "docker"
        return ContainerSandbox(image, engine=engine, runtime="runsc" if tier == "gvisor" else "")
    raise SettingsError(f"no tier {tier!r}{did_you_mean(tier, TIERS)}")


def bubblewrap_command(readable: Sequence[str], writable: str, package: str) -> list[str]:
    """What is put before a fork server's own command. readable: paths to show. writable: its folder. package: the one
    that holds herd. Raises SandboxError where bubblewrap is not installed.

    Source: bwrap(1).
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxError("this machine has no bwrap; install bubblewrap, or take the tier own")
    options = ["--unshare-all", "--new-session", "--dev", "/dev", "--proc", "/proc"]
    shown = {*readable, f"{package}/herd/__init__.py", f"{package}/herd/sandbox", sys.executable}
    shown.add(os.path.realpath(sys.executable))
    for path in sorted(shown):
        options += ["--symlink", os.readlink(path), path] if os.path.islink(path) else ["--ro-bind", path, path]
    return [bwrap, *options, "--bind", writable, writable, "--chdir", "/", "--"]
