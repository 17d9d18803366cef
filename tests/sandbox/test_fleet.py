"""Fork servers by what their runs see."""

from __future__ import annotations

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
