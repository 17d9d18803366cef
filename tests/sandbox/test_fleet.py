"""Fork servers by what their runs see."""

from __future__ import annotations

import os
import sys

import pytest

from herd.core.errors import SandboxError
from herd.sandbox import fleet
from herd.sandbox.fleet import ForkServers
from herd.sandbox.launcher import python_paths
from herd.sandbox.server import SandboxServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


def test_one_for_each_set_of_paths_and_none_that_something_got_through(
    server: SandboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = ForkServers()
    try:
        first = servers.server_for(python_paths())
        assert servers.server_for(python_paths()) is first
        monkeypatch.setattr(fleet, "find_breaches", lambda *_: ["the network"])
        with pytest.raises(SandboxError, match="the network; the network"):  # with each of two profiles
            servers.server_for([*python_paths(), "/usr/share"])
        assert servers.server_for(python_paths()) is first
    finally:
        servers.close()
    assert not first.alive


def test_a_fork_of_the_process_starts_its_own_and_leaves_that_of_its_parent(server: SandboxServer) -> None:
    with SandboxServer() as own:
        child = os.fork()
        if child == 0:
            try:
                first = own.call("def f(): return 1", "f", [[]]).values == [1]
                os._exit(0 if first and own._fleet.server_for(own._paths).pid == os.getpid() else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert own._fleet.server_for(own._paths)._folder.exists()
        assert own.call("def f(): return 2", "f", [[]]).values == [2]
