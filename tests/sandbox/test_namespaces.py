"""A root of its own, seen from inside."""

from __future__ import annotations

import sys
import time

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


TRACES = {
    "a file": "open('x', 'w').write('x')",
    "a file that is gone again": "open('x', 'w').write('x'); os.unlink('x')",
    "a folder that is gone again": "os.mkdir('x'); os.rmdir('x')",
    "a list of files": "os.listdir('.')",
    "a file without a name": "os.close(os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600))",
    "nothing": "None",
}


@pytest.mark.parametrize("trace", TRACES)
def test_a_run_finds_nothing_of_the_run_before(server: SandboxServer, trace: str) -> None:
    """Neither a file, nor a date, nor a count; also where a folder is given to the next run as it is."""
    if not server.walls.own_root:
        pytest.skip("this system gives no namespaces")
    look = (
        "    found = os.stat('.')\n    rest = os.statvfs('.')\n"
        "    return [found.st_mode, found.st_nlink, found.st_size, found.st_mtime_ns, found.st_atime_ns,\n"
        "            rest.f_bfree, rest.f_ffree, os.listdir('.')]"
    )
    for _ in range(3):
        server.call(f"import os\ndef f(): {TRACES[trace]}", "f", [[]])
        (found,) = server.call(f"import os\ndef f():\n{look}", "f", [[]]).values or [None]
        assert found is not None
        assert found[3:5] == [0, 0]
        assert found[7] == []
        assert found[6] == Limits().scratch_files
        assert found[5] * 4096 == Limits().scratch_bytes


def test_a_folder_that_was_used_is_another_one_and_one_that_was_not_is_the_same(server: SandboxServer) -> None:
    if not server.walls.own_root:
        pytest.skip("this system gives no namespaces")

    def made(before: str = "None") -> list[int]:
        time.sleep(0.02)  # files are dated by the clock's ticks
        code = f"import os\ndef f():\n    row = os.stat('.')\n    {before}\n    return [row.st_dev, row.st_ctime_ns]"
        (found,) = alone.call(code, "f", [[]]).values or [None]
        assert found is not None
        return found

    with SandboxServer() as alone:
        first, second, third, fourth = made(), made("open('x', 'w')"), made("os.mkdir('x'); os.rmdir('x')"), made()
        assert first == second != third != fourth
        assert made("os.listdir('.')") == fourth != made()
