"""The sandbox attacks itself before it serves: what gets through is a reason not to.

No attack does harm where it succeeds: files that are not the attack's own are opened and not changed, signals are the
one that is only asked for, and calls have arguments with which they do nothing.

The attacks are one program, run as any of a model's is; each says whether it reached what it wanted, and the parent
looks for itself at what must not have changed.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from herd.sandbox.limits import CallResult

# What no program of a model may call, on x86_64 and aarch64, with arguments that do nothing where it may: it is told
# from one that is refused by what it fails with.
_FORBIDDEN_CALLS = {
    "socket": (41, 198, (2, 1, 0)),
    "fork": (57, 220, (17, 0, 0, 0, 0)),
    "a process in a new namespace": (56, 220, (0x10000000 | 17, 0, 0, 0, 0)),
    "ptrace": (101, 117, (0xFFFF, "parent", 0, 0)),
    "process_vm_readv": (310, 270, ("parent", 0, 0, 0, 0, 0)),
    "kill of the parent": (62, 129, ("parent", 0)),
    "pidfd_open": (434, 434, ("parent", 0)),
    "io_uring_setup": (425, 425, (8, "buffer")),
    "memfd_create": (319, 279, ("text", 0)),
    "userfaultfd": (323, 282, (1,)),
    "perf_event_open": (298, 241, ("buffer", 0, -1, -1, 0)),
    "bpf": (321, 280, (0, "buffer", 64)),
    "keyctl": (250, 219, (0, -4, 0)),
    "unshare": (272, 97, (0x10000000,)),
    "mount": (165, 40, ("text", "text", "text", 0, 0)),
    "chroot": (161, 51, ("slash",)),
    "personality": (135, 92, (0xFFFFFFFF,)),
    "shmget": (29, 194, (0x68657264, 0, 0)),
    "mq_open": (240, 180, ("text", 0, 0, 0)),
    "inotify_init1": (294, 26, (0,)),
    "setuid": (105, 146, (0,)),
    "sched_setaffinity": (203, 122, (0, 8, "buffer")),
    "seccomp": (317, 277, (1, 0, "buffer")),
    "name_to_handle_at": (303, 264, (-100, "slash", "buffer", "buffer", 0)),
}
_PROGRAM = """
import ctypes, os, platform, resource
FORBIDDEN = __FORBIDDEN__
OWN_VARIABLES = {"PATH", "HOME", "LANG", "TMPDIR", "LC_CTYPE"}
REFUSALS = (1, 38)  # EPERM, ENOSYS
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(b"\\0" * 8 + b"\\x01" + b"\\0" * 4087)

def through(attempt):
    try:
        return attempt() is not False
    except BaseException:
        return False

def forbidden(numbers, arguments, parent):
    number = numbers[0 if platform.machine() == "x86_64" else 1]
    words = {"parent": ctypes.c_long(parent), "buffer": buffer, "text": b"herd", "slash": b"/"}
    given = [words.get(one, ctypes.c_long(one) if isinstance(one, int) else one) for one in arguments]
    found = libc.syscall(ctypes.c_long(number), *given)
    if found == 0 and number in (57, 56, 220):
        os._exit(0)
    return found != -1 or ctypes.get_errno() not in REFUSALS

def attack(secret, target, port, parent, variables, files):
    def read(path):
        with open(path) as file:
            return file.read(1)
    def connect():
        import socket
        with socket.create_connection(("127.0.0.1", port), 0.2):
            return True
    def write(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"x")
    attempts = {
        "a file of the user": lambda: read(secret),
        "a new file outside": lambda: write(target),
        "a change of a file": lambda: os.truncate(secret, 0),
        "a change of a file's mode": lambda: os.chmod(secret, 0o777),
        "a link out of the folder": lambda: os.symlink(secret, "link"),
        "removing a file": lambda: os.unlink(secret),
        "a change of the standard library": lambda: os.close(os.open(os.__file__, os.O_WRONLY)),
        "the parent's environment": lambda: read(f"/proc/{parent}/environ"),
        "memory by its file": lambda: os.open(f"/proc/{parent}/mem", os.O_RDWR),
        "an environment variable": lambda: bool(set(variables) & set(os.environ) - OWN_VARIABLES),
        "the network": connect,
        "another program": lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"]) == 0,
        "a higher limit": lambda: resource.setrlimit(resource.RLIMIT_CPU, (99, 99)),
        "the other numbers of system calls": lambda: libc.syscall(ctypes.c_long(0x40000000 + 39)) > 0,
    }
    found = [name for name, attempt in attempts.items() if through(attempt)]
    for name, (first, second, arguments) in FORBIDDEN.items():
        if through(lambda: forbidden((first, second), arguments, parent)):
            found.append("the system call of " + name if " " not in name else name)
    if files:
        with open("own", "w") as file:
            file.write("x")
        found += [] if os.path.exists("own") else ["no file of its own"]
    return found
"""


def find_breaches(call: Callable[[str, str, Sequence[Sequence[Any]]], CallResult], opens_files: bool) -> list[str]:
    """What the attacks reached, in words; empty where all was held. call: of a server. opens_files: whether its runs
    may write files of their own."""
    code = _PROGRAM.replace("__FORBIDDEN__", repr(_FORBIDDEN_CALLS))
    with tempfile.TemporaryDirectory(prefix="herd-attack-") as place, socket.socket() as listening:
        secret, target = Path(place) / "secret", Path(place) / "target"
        secret.write_text("a secret")
        for path, mode in ((Path(place), 0o777), (secret, 0o666)):  # what holds them is not their mode
            path.chmod(mode)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        port = listening.getsockname()[1]
        outcome = call(code, "attack", [[str(secret), str(target), port, os.getpid(), sorted(os.environ), opens_files]])
        if outcome.values is None:
            return [f"the attacks could not be run ({outcome.reason})"]
        breaches = [str(name) for name in outcome.values[0]]
        if not secret.exists() or secret.read_text() != "a secret" or secret.stat().st_mode & 0o777 != 0o666:
            breaches.append("a file was changed")
        if target.exists():
            breaches.append("a file was written")
    return breaches
