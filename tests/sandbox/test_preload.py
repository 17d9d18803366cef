"""What the fork server loads before there are runs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from herd.sandbox.preload import PRELOADED_MODULES, load_modules
from herd.sandbox.server import SandboxServer


def test_all_are_of_the_standard_library_and_load() -> None:
    load_modules()
    assert {name.partition(".")[0] for name in PRELOADED_MODULES} <= sys.stdlib_module_names
    assert set(PRELOADED_MODULES) <= sys.modules.keys()


def test_the_fork_server_loads_no_library_that_few_programs_use() -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from herd.sandbox import preload; preload.load_modules()\n"
        "import herd.sandbox.forkserver; print(*sys.modules)"
    )
    command = [sys.executable, "-S", "-c", code, *sys.path]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "unittest" in loaded
    assert not {"hashlib", "tempfile", "zlib", "bz2", "queue", "unicodedata", "cmath", "numpy"} & set(loaded)


@pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")
def test_a_program_loads_what_is_not_there_itself(server: SandboxServer) -> None:
    code = (
        "import cmath, hashlib, os, queue, tempfile, unicodedata, zlib\n"
        "def f():\n"
        "    with tempfile.NamedTemporaryFile() as file: place = os.path.dirname(file.name)\n"
        "    return [hashlib.sha256(b'').hexdigest()[:6], place == os.getcwd(), unicodedata.name('a'), '\\N{BULLET}']"
    )
    result = server.call(code, "f", [[]])
    assert result.values == [["e3b0c4", True, "LATIN SMALL LETTER A", "•"]], result.reason
