"""The corpus of attacks as root and as an ordinary user, and the sandbox's own attack at its start."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from herd.sandbox.attacks import find_breaches
from herd.sandbox.limits import CallResult, Limits
from herd.sandbox.server import SandboxServer
from tests.sandbox import corpus

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="walls of Linux")


def test_there_are_many_attacks() -> None:
    assert corpus.COUNT >= 60


@pytest.mark.parametrize("kind", corpus.KINDS)
def test_nothing_gets_through(kind: str, server: SandboxServer) -> None:
    assert list(corpus.KINDS[kind](server)) == []
    assert corpus.right_programs_pass(server)


def test_nothing_gets_through_without_namespaces(server: SandboxServer) -> None:
    with SandboxServer(namespaces=False) as bare:
        assert not bare.walls.own_root
        assert [*corpus.reaching(bare), *corpus.spying(bare)] == []


def python_of_all() -> str | None:
    """An interpreter that every user may start, with what herd needs: this one, or the system's of the same version."""
    version = f"python3.{sys.version_info.minor}"
    for path in (sys.executable, shutil.which(version, path="/usr/bin:/usr/local/bin")):
        code = "import pydantic, yaml, typing_extensions"
        if path and as_user(path, "-c", code).returncode == 0:
            return path
    return None


def as_user(*command: str) -> subprocess.CompletedProcess[str]:
    packages = [path for path in sys.path if path.endswith("site-packages")]
    variables = {"PYTHONPATH": os.pathsep.join([str(ROOT), *packages]), "PATH": "/usr/bin:/bin"}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, env=variables, cwd="/", user=1234, group=1234, extra_groups=[]
        )  # fmt: skip
    except OSError as fault:
        return subprocess.CompletedProcess(command, 1, "", str(fault))


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests run as an ordinary user already")
@pytest.mark.parametrize("arguments", [("reaching", "forging", "spying"), ("--no-namespaces", "reaching", "spying")])
def test_nothing_gets_through_for_an_ordinary_user(arguments: tuple[str, ...], server: SandboxServer) -> None:
    python = python_of_all()
    if python is None:
        pytest.skip("no Python with pydantic that an ordinary user may start")
    done = as_user(python, "-m", "tests.sandbox.corpus", *arguments)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["user"] == 1234
    assert row["right"]
    assert set(row["through"]) == set(arguments) - {"--no-namespaces"}
    assert not any(row["through"].values()), row["through"]


def without_walls(code: str, function: str, inputs) -> CallResult:
    end = f"\nimport json, sys\nprint(json.dumps({function}(*json.loads(sys.argv[1]))))"
    command = [sys.executable, "-c", code + end, json.dumps(inputs[0])]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(command, capture_output=True, text=True, cwd=place, check=False)
    return CallResult([json.loads(done.stdout)]) if done.returncode == 0 else CallResult(None, done.stderr[-300:])


def test_the_sandboxs_own_attack_sees_what_is_open() -> None:
    """Held against a process without walls: it must find nearly everything."""
    found = find_breaches(without_walls, opens_files=False)
    wanted = {
        "a file of the user", "a new file outside", "the network", "another program", "a file was written",
        "an environment variable", "the system call of socket", "the system call of memfd_create",
    }  # fmt: skip
    assert wanted <= set(found), found
    assert find_breaches(lambda *_: CallResult(None, "dead"), False) == ["the attacks could not be run (dead)"]
    assert find_breaches(lambda *_: CallResult([[]]), False) == []


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler")
def test_nothing_gets_through_from_another_language(server: SandboxServer, tmp_path: Path) -> None:
    """Where a program is executed, it may execute itself and nothing else."""
    from herd.sandbox.limits import Program

    secret = tmp_path / "secret"
    secret.write_text("a secret")
    secret.chmod(0o666)
    code = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define TRY(name, call) if ((long)(call) >= 0) printf("%s ", name)
int main(void) {
    char *arguments[] = {"true", NULL};
    TRY("file", open("SECRET", O_RDONLY));
    TRY("passwd", open("/etc/passwd", O_RDONLY));
    TRY("root", open("/", O_RDONLY));
    TRY("compiler", open("/usr/bin/gcc", O_RDONLY));
    TRY("write", open("SECRET.new", O_WRONLY | O_CREAT, 0600));
    TRY("mode", chmod("SECRET", 0777));
    TRY("socket", socket(AF_INET, SOCK_STREAM, 0));
    TRY("fork", fork());
    TRY("vfork", syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    TRY("exec", execv("/bin/true", arguments));
    TRY("shell", execv("/bin/sh", arguments));
    TRY("parent", kill(getppid() ? getppid() : 1, 0));
    TRY("everyone", kill(-1, 0));
    TRY("kill", kill(getpid(), SIGKILL));
    TRY("memfd", syscall(SYS_memfd_create, "x", 0));
    TRY("ptrace", syscall(SYS_ptrace, 0, 0, 0, 0));
    TRY("link", symlink("/etc", "link"));
    TRY("mounts", open("/proc/1/environ", O_RDONLY));
    puts("end");
    return 7;
}
""".replace("SECRET", str(secret))
    result = server.run_program(Program(code, "c"), Limits())
    assert (result.stdout, result.exit_code) == ("end\n", 7), result
    include = server.run_program(Program(f'#include "{secret}"\nint main(void) {{ return 0; }}', "c"), Limits())
    assert include.exit_code is None
    assert "a secret" not in include.stderr
    assert not include.void
    assert secret.read_text() == "a secret"
