"""Where code runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from herd.core.errors import SandboxError, SettingsError
from herd.sandbox.containers import ContainerSandbox
from herd.sandbox.remote import RemoteSandbox
from herd.sandbox.server import SandboxServer
from herd.sandbox.tiers import TIERS, bubblewrap_command, open_sandbox


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("bwrap", "docker"):
        (tmp_path / name).write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")
def test_a_fork_server_behind_bubblewrap_has_the_same_walls(tools: Path, server: SandboxServer) -> None:
    """With a `bwrap` that runs the command as it is: what bubblewrap itself holds was not tried."""
    sandbox = open_sandbox("bubblewrap")
    assert isinstance(sandbox, SandboxServer)
    with sandbox:
        assert sandbox.walls.wrapped == "bubblewrap"
        assert sandbox.walls.seccomp
        assert not sandbox.walls.own_root
        assert sandbox.call("def f():\n    open('x', 'w').close()\n    return 1", "f", [[]]).values == [1]


def test_bubblewrap_shows_what_is_read_and_shares_nothing(tools: Path) -> None:
    link = tools / "link"
    link.symlink_to("/usr/lib")
    command = bubblewrap_command(["/usr/lib", str(link)], "/scratch-1", "/package")
    assert command[0] == str(tools / "bwrap")
    assert "--unshare-all" in command
    text = " ".join(command)
    assert "--ro-bind /usr/lib /usr/lib" in text
    assert f"--symlink /usr/lib {link}" in text
    assert "--bind /scratch-1 /scratch-1" in text
    assert f"--ro-bind {os.path.realpath(sys.executable)}" in text
    assert command[-1] == "--"
    assert text.count("--bind ") == 1


def test_every_tier_is_what_its_name_says(tools: Path, server: SandboxServer) -> None:
    assert open_sandbox() is server
    containers = [open_sandbox(tier, image="mine") for tier in ("container", "gvisor")]
    assert all(isinstance(one, ContainerSandbox) for one in containers)
    assert [one.runtime for one in containers] == ["", "runsc"]  # type: ignore[union-attr]
    assert isinstance(open_sandbox("remote", address="http://x:1"), RemoteSandbox)
    assert set(TIERS) == {"own", "bubblewrap", "gvisor", "container", "remote"}


def test_what_cannot_be_had_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="no bwrap"):
        open_sandbox("bubblewrap")
    with pytest.raises(SandboxError, match="no docker"):
        open_sandbox("gvisor")
    with pytest.raises(SettingsError, match="needs the address"):
        open_sandbox("remote")
    with pytest.raises(SettingsError, match="did you mean 'container'"):
        open_sandbox("containers")
