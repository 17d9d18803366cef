"""A root of its own, seen from inside."""

from __future__ import annotations

import sys

import pytest

from herd.sandbox.limits import Limits
from herd.sandbox.namespaces import SLOTS, slot_folder
from herd.sandbox.server import SandboxServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces of Linux")


def test_each_slot_has_a_folder_of_its_own() -> None:
    folders = {slot_folder(number) for number in range(SLOTS)}
    assert len(folders) == SLOTS
    assert all(folder.endswith("/run") for folder in folders)


def test_nothing_of_the_machine_is_in_sight(server: SandboxServer) -> None:
    if not server.walls.own_root:
        pytest.skip("this system gives no namespaces")
    code = (
        "import os, socket\ndef f():\n"
        "    seen = [path for path in ('/home', '/var', '/etc/passwd', '/sys', '/tmp') if os.path.exists(path)]\n"
        "    return [seen, os.getpid() < 5000, os.statvfs('.').f_blocks * os.statvfs('.').f_frsize, os.getppid()]"
    )
    limits = Limits(scratch_bytes=1 << 20)
    (found,) = server.call(code, "f", [[]], limits).values or [None]
    assert found is not None
    hidden, small, size, parent = found
    assert "/var" not in hidden
    assert "/etc/passwd" not in hidden
    assert small
    assert size == 1 << 20
    assert parent == 1
