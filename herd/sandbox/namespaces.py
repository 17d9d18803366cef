"""A root folder, processes and a network of its own for the fork server, where the system gives them.

They are walls behind the walls: what Landlock and the filter of system calls hold is out of sight too. Made once for
a server, they cost a run only its own scratch file system, whose size the kernel keeps.

Source: namespaces(7), mount_namespaces(7), user_namespaces(7), pivot_root(2), mount_setattr(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from herd.sandbox.walls import system_call

_NEW_MOUNTS, _NEW_UTS, _NEW_IPC, _NEW_USER, _NEW_PROCESSES, _NEW_NETWORK = (
    0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000,
)  # fmt: skip
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _NO_EXECUTION, _REMOUNT = 1, 2, 4, 8, 32
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_DETACH = 2
_MOUNT_SETATTR, _AT_RECURSIVE, _AT_FDCWD = 442, 0x8000, -100
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
SCRATCH = "/scratch"
SLOTS = 256  # runs at a time

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind)]
    _call("mount", *words, ctypes.c_ulong(flags), None if options is None else options.encode())


def enter(root: str, readable: Sequence[str]) -> None:
    """This process goes on in a new root folder, with `readable` alone in it, read-only, and as the first process of
    its own. `root`: an empty folder to build it on. A process stays behind that ends when the new one does.

    Raises OSError where the system does not allow it; the process must then end, since some may have been done.
    """
    user, group = os.geteuid(), os.getegid()
    own = _NEW_MOUNTS | _NEW_UTS | _NEW_IPC | _NEW_PROCESSES | _NEW_NETWORK
    _call("unshare", ctypes.c_int(own if user == 0 else own | _NEW_USER))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _fork_first_process()
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NO_SETUID | _NO_DEVICES, "size=4m,mode=0755")
    for path in sorted(readable):  # a folder before what is in it
        _show(path, root)
    for device in _DEVICES:
        target = Path(root + device)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
        _mount(device, str(target), None, _BIND)
    for folder, kind, options in (("/proc", "proc", None), (SCRATCH, "tmpfs", "size=4m,mode=0755")):
        Path(root + folder).mkdir()
        _mount(kind, root + folder, kind, _NO_SETUID | _NO_DEVICES | _NO_EXECUTION, options)
    os.chdir(root)
    system_call(_PIVOT_ROOT[os.uname().machine], ctypes.c_char_p(b"."), ctypes.c_char_p(b"."))
    _call("umount2", b".", _DETACH)
    os.chdir("/")
    for number in range(SLOTS):
        os.makedirs(slot_folder(number))
    _mount(None, SCRATCH, None, _REMOUNT | _READ_ONLY | _BIND | _NO_SETUID | _NO_DEVICES | _NO_EXECUTION)
    _mount(None, "/", None, _REMOUNT | _READ_ONLY | _BIND | _NO_SETUID | _NO_DEVICES)


def _show(path: str, root: str) -> None:
    """One file or folder, at the same place in the new root; a link as a link."""
    source, target = Path(path), Path(root + path)
    if target.exists() or target.is_symlink() or not os.path.lexists(path):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
        return
    if source.is_dir():
        target.mkdir()
    else:
        target.touch()
    _mount(path, str(target), None, _BIND | _RECURSIVE)
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY | _NO_SETUID | _NO_DEVICES, 0, 0, 0)
    where = ctypes.c_char_p(os.fsencode(target))
    system_call(_MOUNT_SETATTR, _AT_FDCWD, where, _AT_RECURSIVE, ctypes.byref(attributes), 32)


def _fork_first_process() -> None:
    """Goes on in the child, the first process of its namespace; the parent waits, and ends it when its own is gone."""
    above = os.getppid()
    child = os.fork()
    if child == 0:
        return
    os.closerange(0, 1024)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            os._exit(0 if status == 0 else 1)
        if os.getppid() != above:
            os.kill(child, signal.SIGKILL)
        signal.sigtimedwait([signal.SIGCHLD], 2.0)


def slot_folder(number: int) -> str:
    """Where the scratch folder of one run at a time is. The folder above is the slot's own too: Landlock's rules are
    made for that one, once, since they name what a mount hides no more."""
    return f"{SCRATCH}/{number}/run"


def mount_scratch(folder: str, size_bytes: int, files: int, user: int) -> None:
    """A new file system in memory for one run, in a root of our own. Raises OSError."""
    options = f"size={size_bytes},nr_inodes={files + 1},mode=0700,uid={user},gid={user}"
    _mount("tmpfs", folder, "tmpfs", _NO_SETUID | _NO_DEVICES, options)


def unmount_scratch(folder: str) -> None:
    """All of it is gone at once. Raises OSError."""
    _call("umount2", os.fsencode(folder), _DETACH)


def date_scratch(folder: str) -> tuple[int, ...]:
    """Dates a new scratch folder back to the epoch, and gives how it looks. Whatever is made in it later gives it the
    present time, and no run has a system call that could take that back. Raises OSError."""
    os.utime(folder, (0, 0))
    return scratch_look(folder)


def scratch_look(folder: str) -> tuple[int, ...]:
    """What changes when a scratch folder is read or written to: its size counts what is in it. Raises OSError."""
    row = os.stat(folder)
    return row.st_mode, row.st_nlink, row.st_size, row.st_atime_ns, row.st_mtime_ns, row.st_ctime_ns
