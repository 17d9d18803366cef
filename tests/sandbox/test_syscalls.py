"""The filters of system calls, followed step by step as the kernel does."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.sandbox.syscalls import ALLOWED_SYSCALLS, BASE_SYSCALLS, base_filter, profile_filter, syscall_numbers

ALLOWED, KILLED, REFUSED, MISSING = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
X32 = 0x40000000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 4711


def verdict(code: bytes, audit: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would do with a call. Source: Linux, `Documentation/networking/filter` and seccomp(2): classic
    BPF over `struct seccomp_data`: number, machine, instruction pointer, six arguments of eight bytes."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *(one % (1 << 64) for one in (*arguments, *[0] * 6)[:6]))
    steps = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]
    at = loaded = 0
    while True:
        kind, yes, no, value = steps[at]
        at += 1
        if kind == 0x20:
            (loaded,) = struct.unpack_from("<I", data, value)
        elif kind == 0x54:
            loaded &= value
        elif kind in (0x15, 0x35, 0x45):
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[kind]
            at += yes if holds else no
        else:
            assert kind == 0x06, "it ends with a return and has no other steps"
            return value


def both(machine: str, profile: str, number: int, *arguments: int) -> int:
    """What two filters over one another do: the stricter holds."""
    audit = AUDIT[machine]
    results = [
        verdict(code, audit, number, arguments)
        for code in (base_filter(machine), profile_filter(machine, profile, PID))
    ]
    return next((one for one in results if one != ALLOWED), ALLOWED)


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize("profile", ALLOWED_SYSCALLS)
@given(st.integers(0, 600) | st.integers(0, 2**32 - 1))
def test_only_the_calls_of_a_profile_get_through(machine: str, profile: str, number: int) -> None:
    names = {value: name for name, value in syscall_numbers(machine).items()}
    if names.get(number) not in ALLOWED_SYSCALLS[profile]:
        assert both(machine, profile, number) != ALLOWED


@pytest.mark.parametrize("machine", AUDIT)
def test_another_architecture_is_killed_and_the_other_numbers_are_refused(machine: str) -> None:
    codes = [base_filter(machine), *(profile_filter(machine, profile, PID) for profile in ALLOWED_SYSCALLS)]
    for code in codes:
        assert len(code) // 8 <= 4096  # the most that Linux takes
        for number in syscall_numbers(machine).values():
            assert verdict(code, AUDIT[machine], number | X32) == REFUSED
            for other in (0x40000003, 0xC0000028, *(one for one in AUDIT.values() if one != AUDIT[machine])):
                assert verdict(code, other, number) == KILLED


@pytest.mark.parametrize("machine", AUDIT)
def test_no_profile_reaches_out_and_each_has_what_it_needs(machine: str) -> None:
    numbers = syscall_numbers(machine)
    assert len(set(numbers.values())) == len(numbers)
    out = """socket connect bind ptrace mount umount2 setrlimit io_uring_setup symlinkat linkat mknodat chmod chown
    fchmodat
    fchownat setresuid setgroups capset seccomp memfd_create userfaultfd pidfd_open pidfd_send_signal unshare sendmsg
    landlock_restrict_self setsid""".split()
    for allowed in ALLOWED_SYSCALLS.values():
        assert not allowed & set(out)
        assert allowed <= BASE_SYSCALLS
    assert "execve" not in ALLOWED_SYSCALLS["python"]
    assert "fork" not in ALLOWED_SYSCALLS["program"]
    assert "openat" not in ALLOWED_SYSCALLS["compute"]
    for name in ("read", "write", "mmap", "futex", "exit_group"):
        for profile in ALLOWED_SYSCALLS:
            assert both(machine, profile, numbers[name]) == ALLOWED


RULES = [
    ("clone", (0x10000 | 0x100,), ALLOWED),
    ("clone", (17,), REFUSED),
    ("clone3", (), MISSING),
    ("kill", (PID, 15), ALLOWED),
    ("kill", (PID, 9), REFUSED),
    ("kill", (PID + 1, 15), REFUSED),
    ("kill", (2**64 - 1, 15), REFUSED),
    ("tgkill", (PID, PID, 6), ALLOWED),
    ("tgkill", (1, 1, 6), REFUSED),
    ("prlimit64", (0, 7, 0), ALLOWED),
    ("prlimit64", (0, 7, 1 << 40), REFUSED),
    ("prlimit64", (PID, 7, 0), REFUSED),
    ("fcntl", (1, 3), ALLOWED),
    ("fcntl", (1, 8), REFUSED),
    ("ioctl", (1, 0x5401), ALLOWED),
    ("ioctl", (1, 0x5412), REFUSED),
    ("socketpair", (1, 1 | 0o2000000), ALLOWED),
    ("socketpair", (1, 2), REFUSED),
    ("socketpair", (2, 1), REFUSED),
    ("sendto", (3, 0, 0, 0, 0), ALLOWED),
    ("sendto", (3, 0, 0, 0, 1 << 40), REFUSED),
    ("prctl", (15,), ALLOWED),
    ("prctl", (22,), REFUSED),
    ("openat", (0, 0, 0), ALLOWED),
    ("openat", (0, 0, 0o1001), ALLOWED),
    ("openat", (0, 0, 0o1000), REFUSED),
]


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize(("name", "arguments", "wanted"), RULES)
def test_some_calls_are_for_certain_arguments(machine: str, name: str, arguments: tuple[int, ...], wanted: int) -> None:
    assert both(machine, "python", syscall_numbers(machine)[name], *arguments) == wanted


def test_a_machine_whose_numbers_are_not_known_has_no_filter() -> None:
    for make in (base_filter, lambda machine: profile_filter(machine, "python", PID)):
        with pytest.raises(OSError, match="the system calls of riscv64 are not known"):
            make("riscv64")


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in AUDIT, reason="numbers of this machine")
def test_the_numbers_are_this_machines() -> None:
    numbers = syscall_numbers(platform.machine())
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(numbers["getpid"]) == os.getpid()
    assert libc.syscall(numbers["getppid"]) == os.getppid()
    assert libc.syscall(numbers["sched_yield"]) == 0
    assert libc.syscall(numbers["close"], -1) == -1
    assert ctypes.get_errno() == 9  # EBADF, and not ENOSYS
