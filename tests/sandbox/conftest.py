"""One sandbox for all tests of a process."""

from __future__ import annotations

import pytest

from herd.core.errors import SandboxError
from herd.sandbox.server import SandboxServer


@pytest.fixture(scope="session")
def server() -> SandboxServer:
    try:
        return SandboxServer.shared()
    except SandboxError as fault:
        pytest.skip(str(fault))
