"""The fork server as a process of ours: started, asked what holds, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd.core.errors import SandboxError
from herd.sandbox import scratch
from herd.sandbox.exchange import Run
from herd.sandbox.walls import is_reachable_by_all

_PACKAGE = str(Path(__file__).parents[2])
# What random and threading do after each fork is not needed: every run has the same numbers, and the server has one
# thread. It would be a fifth of a run's time.
_CODE = (
    "import os, sys; sys.path.insert(0, {package!r}); register = os.register_at_fork; "
    "os.register_at_fork = lambda **_: None; from herd.sandbox import preload; preload.load_modules(); "
    "from herd.sandbox.forkserver import serve_forks; os.register_at_fork = register; serve_forks(sys.argv[1])"
)
_START_SECONDS = 60.0
Wrap = tuple[str, Callable[[Sequence[str], str, str], list[str]]]
# Where systems keep shared libraries and what describes them; nobody keeps secrets there.
SYSTEM_PATHS = (
    "/usr/lib", "/usr/lib64", "/usr/libexec", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf",
    "/etc/ld.so.conf.d", "/usr/share/zoneinfo",
)  # fmt: skip


@dataclass(frozen=True)
class Walls:
    """What stands between a run and the machine. landlock: version of its interface, 0 for none. seccomp: system calls
    are filtered. own_root: files, processes and network of its own. own_user: runs are nobody's user. wrapped: by
    another program, as bubblewrap."""

    landlock: int
    seccomp: bool
    own_root: bool
    own_user: bool
    wrapped: str = ""

    @property
    def stand(self) -> bool:
        """Whether code of a model may be run behind them."""
        return self.seccomp

    @property
    def opens_files(self) -> bool:
        """Whether runs may open files, of those that they are to see."""
        return bool(self.landlock) or self.own_root or bool(self.wrapped)

    def __str__(self) -> str:
        parts = [
            f"Landlock {self.landlock}" if self.landlock else "",
            "seccomp" if self.seccomp else "",
            "own root folder, processes and network" if self.own_root else "",
            "a user without rights" if self.own_user else "",
            self.wrapped,
        ]
        return ", ".join(part for part in parts if part) or "none"


def python_paths() -> list[str]:
    """What a Python program may read: the standard library and the system's libraries, no installed package."""
    own = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sysconfig.get_config_var("LIBDIR")]
    library = [] if not sysconfig.get_config_var("Py_ENABLE_SHARED") else own[2:]
    report = [str(path) for path in (*own[:2], *library, *SYSTEM_PATHS) if path]
    return list(dict.fromkeys(path for path in report if os.path.lexists(path)))


class ForkServer:
    """A fork server and the socket to it. readable: what its runs may read, and execute where they execute at all.
    wrap: the name of another program that gives the server its own root folder, and what is put before the server's
    command for it, from what the server reads, the folder that it writes to, and the one that holds herd.

    Raises SandboxError where it cannot be started, or where no wall stands and `unsafe` is not given.
    """

    def __init__(
        self,
        readable: Sequence[str],
        *,
        unsafe: bool = False,
        namespaces: bool = True,
        wrap: Wrap | None = None,
    ) -> None:
        self.readable = list(readable)
        place = _scratch_place() or tempfile.gettempdir()
        remove_leftovers(Path(place))
        self._folder = Path(tempfile.mkdtemp(prefix=f"{_prefix()}{os.getpid()}-", dir=place))
        self._finalizer = weakref.finalize(self, _forget, self._folder, os.getpid())
        for name in ("root", "scratch"):
            (self._folder / name).mkdir(mode=0o711)
        self._folder.chmod(0o711)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self.pid = os.getpid()
        try:
            self.walls = self._start(unsafe, namespaces, wrap)
        except BaseException:
            self.close()
            raise

    def _start(self, unsafe: bool, namespaces: bool, wrap: Wrap | None) -> Walls:
        report = self._try_start(namespaces and wrap is None and sys.platform == "linux", wrap)
        if "fault" in report and namespaces and wrap is None:
            self._end_process()
            report = self._try_start(False, wrap)
        if "fault" in report:
            raise SandboxError(f"the fork server for code of a model cannot start here: {report['fault']}")
        walls = Walls(report["landlock"], report["seccomp"], report["own_root"], self._users, wrap[0] if wrap else "")
        if not walls.stand and not unsafe:
            raise SandboxError(
                "code of a model runs only behind walls, and this system has none (no filter of system calls); "
                "take Linux 5.13 or later on x86_64 or aarch64, or name another tier"
            )
        return walls

    def _try_start(self, namespaces: bool, wrap: Wrap | None) -> dict[str, Any]:
        before = wrap[1](self.readable, str(self._folder), _PACKAGE) if wrap else []
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        reachable = namespaces or (wrap is None and all(map(is_reachable_by_all, self.readable)))
        self._users = os.geteuid() == 0 and reachable
        config = {
            "control": theirs.fileno(),
            "package": _PACKAGE,
            "readable": self.readable,
            "root": str(self._folder / "root"),
            "scratch": str(self._folder / "scratch"),
            "namespaces": namespaces,
            "users": self._users,
            "rooted": wrap is not None,
        }
        python = [sys.executable, "-s", "-S", "-P", "-B", "-X", "utf8", "-c", _CODE.format(package=_PACKAGE)]
        # Sets are walked in the same order in every run: verdicts do not hang on it. Functions of libraries are looked
        # up once, and not again in every fork that is the first to call them.
        variables = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", "LD_BIND_NOW": "1"}
        with theirs:
            self._process = subprocess.Popen(
                [*before, *python, json.dumps(config)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, env=variables, cwd="/", pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        self._control = ours
        heard = select.select([ours], [], [], _START_SECONDS)[0]
        data = ours.recv(1 << 16) if heard else b""
        return json.loads(data) if data else {"fault": self._last_words() or f"no word in {_START_SECONDS:.0f} s"}

    def _last_words(self) -> str:
        assert self._process is not None
        assert self._process.stderr is not None
        self._process.kill()
        lines = self._process.stderr.read(1 << 16).decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, run: Run, job: dict[str, Any]) -> None:
        """Starts a run. Raises SandboxError where the server is gone."""
        assert self._control is not None
        try:
            run.send(self._control, job)
        except OSError as fault:
            raise SandboxError(f"the fork server for code of a model is gone ({fault}); run it again") from fault

    def drop_scratch(self, name: str) -> None:
        """Removes a folder that a run kept."""
        with contextlib.suppress(OSError):
            if self._control is not None:
                self._control.send(json.dumps({"drop": name}).encode())

    def close(self) -> None:
        """Ends the server, its runs and all that they wrote."""
        self._end_process()
        if self._folder.exists():
            for name in ("scratch", "root"):
                if (self._folder / name).exists():
                    scratch.remove(str(self._folder / name))
            self._folder.rmdir()
        self._finalizer.detach()

    def _end_process(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is None:
            return
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None


def _forget(folder: Path, owner: int = 0) -> None:
    """For a server that nobody closed: its process has seen that its parent is gone. owner: the process that may; 0 for
    any, since a fork of it has the server's name and not the server."""
    if owner not in (0, os.getpid()):
        return
    for name in ("scratch", "root"):
        with contextlib.suppress(OSError):
            scratch.remove(str(folder / name))
    with contextlib.suppress(OSError):
        folder.rmdir()


def _prefix() -> str:
    """Of the folders of servers whose parents are numbered as this process is."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"herd-sandbox-{space}-"


def remove_leftovers(place: Path) -> None:
    """Removes the folders of servers whose parents were killed before they could."""
    for folder in place.glob(f"{_prefix()}*"):
        number = folder.name.removeprefix(_prefix()).partition("-")[0]
        with contextlib.suppress(OSError):
            if number.isdigit() and not os.path.exists(f"/proc/{number}") and folder.stat().st_uid == os.geteuid():
                _forget(folder)


def _scratch_place() -> str | None:
    """Memory, where there is room: files of runs are small and short-lived."""
    shared = "/dev/shm"  # noqa: S108 - a new folder with a random name is made in it
    try:
        roomy = shutil.disk_usage(shared).free > 1 << 28 and os.access(shared, os.W_OK | os.X_OK)
        roomy &= not os.statvfs(shared).f_flag & os.ST_NOEXEC  # compiled programs run there
    except OSError:
        roomy = False
    return shared if roomy else None
