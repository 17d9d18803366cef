"""Walls, each alone, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from herd.sandbox import walls
from herd.sandbox.walls import is_reachable_by_all, landlock_version, seccomp_exists

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


def alone(code: str, *arguments: str) -> str:
    """What a process prints that only has the standard library and the walls."""
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport os, resource\nfrom herd.sandbox import walls\n"
    command = [sys.executable, "-S", "-P", "-c", start + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={}).stdout.strip()


def test_walls_need_nothing_but_the_standard_library() -> None:
    code = "print(sorted(one for one in sys.modules if one.startswith('herd') or one in ('pydantic', 'numpy')))"
    assert alone(code) == "['herd', 'herd.sandbox', 'herd.sandbox.syscalls', 'herd.sandbox.walls']"


def test_limits_hold_and_leave_no_core_dump() -> None:
    code = """
walls.ResourceLimits(2, 1 << 30, 1 << 29, 1 << 20, processes=0, open_files=33).install()
kinds = (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE,
         resource.RLIMIT_CORE)
print([resource.getrlimit(one) for one in kinds])
"""
    wanted = [(2, 3), (1 << 30, 1 << 30), (1 << 29, 1 << 29), (1 << 20, 1 << 20), (33, 33), (0, 0)]
    assert alone(code) == str(wanted)


@pytest.mark.skipif(landlock_version() == 0, reason="no Landlock here")
def test_landlock_opens_what_is_named_and_nothing_else(tmp_path: Path) -> None:
    for name in ("read", "write", "none"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    code = """
top = sys.argv[1]
def tries(call):
    try: call(); return "y"
    except OSError: return "n"
rules = walls.file_rules([(top + "/read", walls.READ), (top + "/write", walls.WRITE), ("/nowhere", walls.READ)],
                         walls.landlock_version())
walls.restrict_files(rules)
for name in ("read", "write", "none"):
    file = f"{top}/{name}/file"
    print(name, tries(lambda: open(file).read()), tries(lambda: open(file, "w").write("x")),
          tries(lambda: os.mkdir(file + "d")), tries(lambda: os.symlink("/", file + "l")),
          tries(lambda: os.execv("/bin/true", ["true"])))
"""
    assert alone(code, str(tmp_path)).splitlines() == ["read y n n n n", "write y y y n n", "none n n n n n"]


@pytest.mark.skipif(not seccomp_exists(), reason="no seccomp here")
def test_the_filters_lie_over_one_another_and_a_fork_has_its_own_number() -> None:
    code = """
filters = walls.ProfileFilters()
walls.install_base_filter()
child = os.fork()  # the base allows it
if child == 0:
    filters.install("python")
    found = []
    for call in (os.fork, lambda: os.kill(os.getppid(), 0), lambda: os.kill(os.getpid(), 0), os.getpid):
        try: call(); found.append("y")
        except PermissionError: found.append("n")
    os._exit(0 if found == ["n", "n", "y", "y"] else 1)
print(os.waitpid(child, 0)[1])
"""
    assert alone(code) == "0"


def test_rights_go_and_do_not_come_back() -> None:
    code = """
walls.bound_capabilities(); walls.drop_capabilities(); walls.hide_memory(); walls.end_with_parent()
rows = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if line.startswith("Cap"))
print(rows["CapEff"], rows["CapPrm"])
"""
    assert set(alone(code).split()) == {"0" * 16}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another")
def test_root_becomes_nobody() -> None:
    assert alone("walls.become(65520); print(os.getresuid(), os.getresgid(), os.getgroups())") == (
        "(65520, 65520, 65520) (65520, 65520, 65520) []"
    )


def test_a_call_that_fails_says_which() -> None:
    with pytest.raises(OSError, match="system call 3: Bad file descriptor") as caught:
        walls.system_call(3, -1)
    assert caught.value.errno == 9


def test_whom_a_folder_is_open_to(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir(mode=0o700)
    assert is_reachable_by_all("/usr")
    assert not is_reachable_by_all(str(tmp_path / "inner"))
    assert not is_reachable_by_all(str(tmp_path / "nowhere"))
