"""The filter of system calls, followed step by step as the kernel does, and what a program gives."""

from __future__ import annotations

import ctypes
import platform
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herd.sandbox import jailed
from herd.sandbox.jailed import ALLOWED_SYSCALLS, SYSCALL_TABLES, run_calls, seccomp_filter

ALLOWED, KILLED, REFUSED = 0x7FFF0000, 0x80000000, 0x00050001  # ERRNO with EPERM
X32 = 0x40000000


def verdict(code: bytes, machine: int, number: int) -> int:
    """What the kernel would do with the call `number` of a machine. Source: Linux, `Documentation/networking/filter`
    and seccomp(2): classic BPF over `struct seccomp_data`, whose first words are the number and the machine."""
    steps = [struct.unpack_from("HBBI", code, at) for at in range(0, len(code), 8)]
    at = loaded = 0
    while True:
        kind, yes, no, value = steps[at]
        at += 1
        if kind == 0x20:  # load a word
            loaded = {0: number, 4: machine}[value]
        elif kind == 0x15:  # equal
            at += yes if loaded == value else no
        elif kind == 0x35:  # greater or equal
            at += yes if loaded >= value else no
        else:
            assert kind == 0x06, "it ends with a return and has no other steps"
            return value


@pytest.mark.parametrize("machine", SYSCALL_TABLES)
@given(st.integers(0, 600) | st.integers(0, 2**32 - 1))
def test_only_the_calls_that_are_needed_get_through(machine: str, number: int) -> None:
    audit, numbers = SYSCALL_TABLES[machine]
    allowed = set(map(int, numbers.split()))
    wanted = ALLOWED if number in allowed else REFUSED
    assert verdict(seccomp_filter(machine), audit, number) == wanted


@pytest.mark.parametrize("machine", SYSCALL_TABLES)
def test_another_architecture_is_killed_and_the_other_numbers_are_refused(machine: str) -> None:
    code = seccomp_filter(machine)
    audit, numbers = SYSCALL_TABLES[machine]
    for number in map(int, numbers.split()):
        assert verdict(code, audit, number) == ALLOWED
        assert verdict(code, audit, number | X32) == REFUSED
        for other in (0x40000003, 0xC0000028, *(one for one, _ in SYSCALL_TABLES.values() if one != audit)):
            assert verdict(code, other, number) == KILLED


@pytest.mark.parametrize("machine", SYSCALL_TABLES)
def test_every_name_has_one_number_and_none_that_reaches_out(machine: str) -> None:
    numbers = list(map(int, SYSCALL_TABLES[machine][1].split()))
    assert len(numbers) == len(set(numbers)) == len(ALLOWED_SYSCALLS) == len(set(ALLOWED_SYSCALLS))
    out = "open openat socket connect execve fork clone clone3 kill ptrace prctl mount setrlimit io_uring_setup ioctl"
    assert not set(ALLOWED_SYSCALLS) & set(out.split())
    assert len(seccomp_filter(machine)) // 8 == 7 + 2 * len(numbers)
    assert len(seccomp_filter(machine)) // 8 <= 4096  # the most that Linux takes


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in SYSCALL_TABLES, reason="numbers of this machine"
)
def test_the_numbers_are_this_machines() -> None:
    numbers = dict(zip(ALLOWED_SYSCALLS, map(int, SYSCALL_TABLES[platform.machine()][1].split()), strict=True))
    libc = ctypes.CDLL(None, use_errno=True)
    import os
    import threading

    assert libc.syscall(numbers["getpid"]) == os.getpid()
    assert libc.syscall(numbers["gettid"]) == threading.get_native_id()
    assert libc.syscall(numbers["sched_yield"]) == 0
    assert libc.syscall(numbers["close"], -1) == -1
    assert ctypes.get_errno() == 9  # EBADF, and not ENOSYS
    assert libc.syscall(numbers["lseek"], -1, 0, 0) == -1


def test_a_machine_whose_numbers_are_not_known_has_no_filter() -> None:
    with pytest.raises(OSError, match="the system calls of riscv64 are not known"):
        seccomp_filter("riscv64")


@pytest.mark.parametrize(
    ("code", "inputs", "made"),
    [
        ("def f(a, b=1): return a + b", [[1], [1, 5]], {"values": [2, 6]}),
        ("def f(): return __name__", [[]], {"values": ["program"]}),
        ("def f(): return 1", [], {"values": []}),
        ("x = 1", [[]], {"fault": "there is no function f"}),
        ("f = 3", [[]], {"fault": "TypeError: 'int' object is not callable"}),
        ("raise SystemExit(3)", [[]], {"fault": "SystemExit: 3"}),
        ("def f(a): return 1 / a", [[1], [0]], {"fault": "ZeroDivisionError: division by zero"}),
        ("def f(): raise KeyError('x' * 999)", [[]], {"fault": f"KeyError: '{'x' * 289}"}),
        (
            "class Odd(Exception):\n    def __str__(self): raise ValueError\ndef f(): raise Odd",
            [[]],
            {"fault": "an exception that cannot be shown"},
        ),
    ],
)
def test_a_program_gives_values_or_the_reason(code: str, inputs: list, made: dict) -> None:
    assert run_calls(code, "f", inputs) == made


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_limits_hold_and_leave_no_core_dump() -> None:
    """In a process of its own, with this file run as the sandbox runs it: without herd."""
    code = (
        "import importlib.util, resource as r, sys\n"
        "spec = importlib.util.spec_from_file_location('jailed', sys.argv[1])\n"
        "jailed = importlib.util.module_from_spec(spec); spec.loader.exec_module(jailed)\n"
        "jailed.limit(2, 1 << 30)\n"
        "print([r.getrlimit(one) for one in (r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_CORE)], 'herd' in sys.modules)"
    )
    command = [sys.executable, "-I", "-S", "-c", code, jailed.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"[(2, 3), ({1 << 30}, {1 << 30}), (0, 0)] False"
