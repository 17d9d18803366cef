"""The fork server as a process: it starts, holds, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from herd.core.errors import SandboxError
from herd.sandbox import launcher
from herd.sandbox.exchange import Run
from herd.sandbox.launcher import ForkServer, Walls, python_paths, remove_leftovers
from herd.sandbox.limits import Limits
from herd.sandbox.server import SandboxServer
from herd.sandbox.single import call_once, call_request, python_job

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


def calls(server: ForkServer, code: str) -> object:
    return call_once(server, python_job("call", Limits(), 4), call_request(code, "f", [[]]), 1, Limits()).values


def test_it_serves_ends_and_leaves_nothing(server: SandboxServer, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(launcher, "_scratch_place", lambda: str(tmp_path))
    for namespaces in (True, False):
        fork_server = ForkServer(python_paths(), namespaces=namespaces)
        assert calls(fork_server, "def f():\n    open('x', 'w').write('y')\n    return 1") == [1]
        assert fork_server.alive
        assert len(list(tmp_path.iterdir())) == 1
        assert namespaces or not fork_server.walls.own_root
        fork_server.close()
        fork_server.close()
        assert not fork_server.alive
        assert list(tmp_path.iterdir()) == []
        with Run() as run, pytest.raises((SandboxError, AssertionError)):
            fork_server.send(run, {})


def test_it_ends_with_its_parent_even_when_that_is_killed(server: SandboxServer) -> None:
    code = (
        "import os, signal, time\nfrom herd.sandbox.launcher import ForkServer, python_paths\n"
        "s = ForkServer(python_paths()); print(s._process.pid, s._folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    number, folder = done.stdout.split()
    for _ in range(200):
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            break
        if state == "Z":
            break
        import time

        time.sleep(0.05)
    else:
        pytest.fail("it is still there")
    remove_leftovers(Path(folder).parent)
    assert not Path(folder).exists()


def test_nothing_runs_where_there_are_no_walls(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"landlock": 0, "seccomp": False, "own_root": False}
    monkeypatch.setattr(ForkServer, "_try_start", lambda self, *_: setattr(self, "_users", False) or row)
    with pytest.raises(SandboxError, match="this system has none"):
        ForkServer(python_paths())
    assert not ForkServer(python_paths(), unsafe=True).walls.stand


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_CODE", "raise SystemExit('no way')  # {package}")
    with pytest.raises(SandboxError, match="cannot start here: no way"):
        ForkServer(python_paths())


def test_walls_in_words_and_paths_without_packages() -> None:
    assert str(Walls(7, True, False, True)) == "Landlock 7, seccomp, a user without rights"
    assert str(Walls(0, False, False, False)) == "none"
    assert not any("site-packages" in path for path in python_paths())
    assert os.path.dirname(os.__file__) in python_paths()
