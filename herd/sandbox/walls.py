"""The walls around a process that runs code of a model: what it may open, call and use, and as whom it runs.

Only the standard library is used: these functions run in the fork server and its children.

Source: landlock(7), seccomp(2), prctl(2), setrlimit(2), capabilities(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from herd.sandbox.syscalls import ALLOWED_SYSCALLS, base_filter, profile_filter

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 1, 4, 22, 38, 24
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on every machine
_LAST_CAPABILITY = 63
_ANY_PID = 0x7EADBEEF  # no system call and no process has this number

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = (1 << bit for bit in range(6))
MAKE_DIR, MAKE_REG, REFER, TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
READ = READ_FILE | READ_DIR
# Not links, sockets, pipes with names or devices: nothing that leads elsewhere.
WRITE = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
# Rights over files that a version of Landlock knows, by version; later ones know at least these.
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_LATER_FILE_RIGHTS = (1 << 16) - 1
_NETWORK, _SCOPES = 3, 3  # bind and connect of TCP; abstract sockets and signals

# A call for a fork, prepared before there is one: the function and its arguments. It raises, or gives -1, if it fails.
LockStep = tuple[Callable[..., object], tuple[Any, ...]]

_libc = ctypes.CDLL(None, use_errno=True)
# With the types said once, a run's calls make no object for every argument.
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
_restrict_self = ctypes.CDLL(None, use_errno=True).syscall
_restrict_self.argtypes = [ctypes.c_long] * 3


def _checked(returned: int, call: str) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return returned


def take_steps(steps: Sequence[LockStep]) -> None:
    """Takes one step after another. Raises OSError at the first that fails."""
    for function, arguments in steps:
        if function(*arguments) == -1:
            _checked(-1, f"{getattr(function, '__name__', function)}{arguments}")


def system_call(number: int, *arguments: object) -> int:
    """What a system call returns. Raises OSError."""
    words = [ctypes.c_long(element) if isinstance(element, int) else element for element in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *words), f"system call {number}")


def prctl(option: int, first: int = 0, second: int = 0) -> None:
    if _libc.prctl(option, first, second, 0, 0) < 0:
        _checked(-1, f"prctl {option}")


def _prctl_step(option: int, first: int = 0, second: int = 0) -> LockStep:
    return _libc.prctl, (option, first, second, 0, 0)


def landlock_version() -> int:
    """The version of Landlock's interface that the kernel has; 0 for none."""
    if sys.platform != "linux":
        return 0
    try:
        return system_call(_CREATE_RULESET, 0, 0, 1)
    except OSError:
        return 0


def seccomp_exists() -> bool:
    """Whether this system filters system calls and their numbers are known here."""
    if sys.platform != "linux":
        return False
    try:
        base_filter(platform.machine())
        _libc.prctl(_PR_SET_SECCOMP, 2, 0, 0, 0)
    except OSError:
        return False
    return ctypes.get_errno() == 14  # EFAULT: it would have read a filter


def file_rules(rules: Iterable[tuple[str, int]], version: int) -> int:
    """A descriptor of rules: which paths may be opened, and how; nothing may be bound or connected to.

    rules: a path and the rights under it; one that does not exist gives none. version: of Landlock. Raises OSError.
    """
    handled = _FILE_RIGHTS.get(version, _LATER_FILE_RIGHTS)
    words = [handled, _NETWORK, _SCOPES][: 1 if version < 4 else 2 if version < 6 else 3]
    attributes = struct.pack("Q" * len(words), *words)
    ruleset = system_call(_CREATE_RULESET, ctypes.c_char_p(attributes), len(attributes), 0)
    for path, rights in rules:
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            if not os.path.isdir(path):
                rights &= _OF_FILES
            rule = struct.pack("=Qi", rights & handled, opened)
            system_call(_ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
        finally:
            os.close(opened)
    return ruleset


def restrict_files(ruleset: int) -> None:
    """From now on this process opens only what these rules allow. Raises OSError."""
    take_steps(file_steps(ruleset))


def file_steps(ruleset: int) -> list[LockStep]:
    """What `restrict_files` does."""
    return [_prctl_step(_PR_SET_NO_NEW_PRIVS, 1), (_restrict_self, (_RESTRICT_SELF, ruleset, 0))]


class SyscallFilter:
    """A seccomp filter in memory, to be installed in this process or in its forks."""

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(self._code))
        self._program = ctypes.create_string_buffer(program, len(program))
        self._words = memoryview(self._code).cast("B").cast("I")

    def fill(self, places: Iterable[int], number: int) -> None:
        """Puts a number where it is compared with. places: in words of four bytes."""
        for place in places:
            self._words[place] = number

    def steps(self) -> list[LockStep]:
        """What `install` does."""
        address = ctypes.addressof(self._program)
        return [_prctl_step(_PR_SET_NO_NEW_PRIVS, 1), _prctl_step(_PR_SET_SECCOMP, 2, address)]

    def install(self) -> None:
        """Holds from now on, for this process and all that come of it. Raises OSError."""
        take_steps(self.steps())


def install_base_filter() -> None:
    """The filter that a fork server and its children share. Raises OSError where there is none for this machine."""
    SyscallFilter(base_filter(platform.machine())).install()


class ProfileFilters:
    """What children may not call of what the base allows: prepared once, so that a child only fills in its number.

    Raises OSError where there is none for this machine.
    """

    def __init__(self) -> None:
        machine = platform.machine()
        codes = {profile: profile_filter(machine, profile, _ANY_PID) for profile in ALLOWED_SYSCALLS}
        self._filters = {profile: (SyscallFilter(code), _places(code)) for profile, code in codes.items()}

    def fill(self, profile: str) -> None:
        """For this process, as it is numbered now."""
        prepared, places = self._filters[profile]
        prepared.fill(places, os.getpid())

    def steps(self, profile: str) -> list[LockStep]:
        """What installs a filter that `fill` made this process's own."""
        return self._filters[profile][0].steps()

    def install(self, profile: str) -> None:
        """For this process, as it is numbered now. Raises OSError."""
        self.fill(profile)
        take_steps(self.steps(profile))


def _places(code: bytes) -> list[int]:
    """Where a filter compares with the number of its process: the second word of a step of two."""
    return [place for place, (word,) in enumerate(struct.iter_unpack("I", code)) if place % 2 and word == _ANY_PID]


@dataclass(frozen=True)
class ResourceLimits:
    """cpu_seconds: of processor time. address_bytes, data_bytes: 0 for no limit of that kind. file_bytes: of one file.
    processes: of the user; only counted where the user is nobody else's."""

    cpu_seconds: int
    address_bytes: int
    data_bytes: int
    file_bytes: int
    processes: int = 0
    open_files: int = 64

    def steps(self) -> list[LockStep]:
        """What `install` does. The soft limit's signal says that it was the time; a process that ignores it is killed a
        second later."""
        pairs = {resource.RLIMIT_CPU: (self.cpu_seconds, self.cpu_seconds + 1), resource.RLIMIT_CORE: (0, 0)}
        hard = {
            resource.RLIMIT_AS: self.address_bytes,
            resource.RLIMIT_DATA: self.data_bytes,
            resource.RLIMIT_FSIZE: self.file_bytes,
            resource.RLIMIT_NOFILE: self.open_files,
        }
        if sys.platform == "linux" and self.processes:
            hard[resource.RLIMIT_NPROC] = self.processes
        pairs |= {kind: (limit, limit) for kind, limit in hard.items() if limit}
        return [(resource.setrlimit, pair) for pair in pairs.items()]

    def install(self) -> None:
        """Holds for this process and its children."""
        take_steps(self.steps())


def end_with_parent() -> None:
    """This process is killed when the thread that forked it ends; forgotten when the user changes."""
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def hide_memory() -> None:
    """No other process of the same user may look into this one, and it leaves no core dump."""
    prctl(_PR_SET_DUMPABLE, 0)


def process_steps() -> list[LockStep]:
    """What `end_with_parent` and `hide_memory` do."""
    return [_prctl_step(_PR_SET_PDEATHSIG, int(signal.SIGKILL)), _prctl_step(_PR_SET_DUMPABLE, 0)]


def bound_capabilities() -> None:
    """No program that is executed from here gains a right of root."""
    for capability in range(_LAST_CAPABILITY + 1):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # past the last one, or there is no right to drop: then there are none to gain either


def drop_capabilities() -> None:
    """No right of root stays, also where the user stays root. Raises OSError."""
    header, none = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _checked(_libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(none)), "capset")


def become(user: int) -> None:
    """Goes on as a user without rights, for good. Raises OSError."""
    take_steps(user_steps(user))


def user_steps(user: int) -> list[LockStep]:
    """What `become` does."""
    return [(os.setgroups, ([],)), (os.setresgid, (user, user, user)), (os.setresuid, (user, user, user))]


def release_heap() -> None:
    """Gives back what this process no longer uses, so that its forks do not share it."""
    with contextlib.suppress(AttributeError):  # glibc's alone
        _libc.malloc_trim(0)


def is_reachable_by_all(path: str) -> bool:
    """Whether every user may enter this folder and those above it."""
    file = Path(path)
    try:
        return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (file, *file.parents))
    except OSError:
        return False
