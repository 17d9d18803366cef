"""Containers, with a `docker` that runs the command here: what a container itself holds was not tried."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from herd.core.errors import SandboxError
from herd.sandbox.containers import ContainerSandbox
from herd.sandbox.limits import Limits, Program

ROOT = Path(__file__).parents[2]
FAKE = """#!{python} -S
import os, sys
words = sys.argv[1:]
if words[0] == "kill":
    sys.exit(0)
at = words.index("image")
request = next(word for word in words if word.endswith(":/request:ro")).split("=")[1].split(":")[0]
scratch = "{scratch}"
os.chdir(scratch)
code = words[-1].replace("/opt", "{root}")
code = code.replace("run_once()", "run_once(request_file=%r)" % (request + "/request.json"))
os.execve(sys.executable, [sys.executable, *words[at + 2:-1], code], {{"PYTHONHASHSEED": "0"}})
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContainerSandbox:
    folder, scratch = tmp_path / "bin", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    file = folder / "docker"
    file.write_text(FAKE.format(python=sys.executable, root=ROOT, scratch=scratch))
    file.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return ContainerSandbox("image")


def test_the_command_gives_a_container_nothing(fake: ContainerSandbox) -> None:
    fake.runtime = "runsc"
    command = fake.command("herd-1", Path("/request-1"), Limits(memory_bytes=7))
    for word in ("--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=7",
                 "--memory-swap=7", "--user=65534:65534", "--runtime=runsc", "--pids-limit=64"):  # fmt: skip
        assert word in command
    volumes = [word for word in command if word.startswith("--volume")]
    assert len(volumes) == 2
    assert all(word.endswith(":ro") for word in volumes)


def test_calls_programs_and_tests_go_through_it(fake: ContainerSandbox) -> None:
    assert fake.call("def f(a): return a * 2", "f", [[2], [3]]).values == [4, 6]
    assert "ZeroDivisionError" in fake.call("def f(a): return 1 / 0", "f", [[2]]).reason
    result = fake.run_program(Program("import sys\nprint(input())\nsys.exit(3)", stdin="hello\n"))
    assert (result.stdout, result.exit_code) == ("hello\n", 3)
    check = "def check(candidate):\n    assert candidate(2) == 4\n"
    for code, passed in (("def f(x): return x * x", True), ("def f(x): return 5", False)):
        assert fake.run_tests(code, check, style="check", entry_point="f").passed is passed
        assert fake.run_tests(code, check, style="check", entry_point="f", allow_forgeable=True).passed is passed


def test_what_is_not_there_is_said(fake: ContainerSandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="containers run programs in python"):
        fake.run_program(Program("x", "c"))
    (tmp_path / "bin" / "docker").write_text("#!/bin/sh\necho no daemon >&2\nexit 125\n")
    found = fake.call("def f(): pass", "f", [[]])
    assert found.void
    assert "the container did not start: no daemon" in found.reason
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="there is no docker on this machine"):
        ContainerSandbox()
