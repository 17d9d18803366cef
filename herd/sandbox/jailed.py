"""The program in which code of a model runs: it locks itself up first, and can never get out again.

It is started by `herd.sandbox.python` as a file, without herd: only the standard library is there. Once locked, the
process may compute, read and write what it has open, and end; it can open no file, no socket, no other process, whoever
runs it. Modules that are not loaded by then cannot be imported.

Source: seccomp(2), a filter of allowed system calls; numbers from Linux, `arch/x86/entry/syscalls/syscall_64.tbl` and
`include/uapi/asm-generic/unistd.h`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import signal
import struct
import sys

# What programs of textbook problems use.
PRELOADED_MODULES = """
abc array bisect calendar cmath collections collections.abc copy dataclasses datetime decimal enum fractions functools
hashlib heapq itertools json math numbers operator queue random re statistics string textwrap time types typing
unicodedata
""".split()
ALLOWED_SYSCALLS = """
read write close fstat lseek mmap mprotect munmap brk mremap madvise rt_sigaction rt_sigprocmask rt_sigreturn
sigaltstack futex getpid gettid getrandom clock_gettime clock_getres gettimeofday times getrusage sched_yield
sched_getaffinity membarrier rseq set_robust_list restart_syscall exit exit_group
""".split()
# Audit architecture, and the numbers of NEEDED in order.
SYSCALL_TABLES = {
    "x86_64": (
        0xC000003E,
        "0 1 3 5 8 9 10 11 12 25 28 13 14 15 131 202 39 186 318 228 229 96 100 98 24 204 324 334 273 219 60 231",
    ),
    "aarch64": (
        0xC00000B7,
        "63 64 57 80 62 222 226 215 214 216 233 134 135 139 132 98 172 178 278 113 114 169 153 165 124 123 283 293 99 "
        "128 93 94",
    ),
}
_X32 = 0x40000000  # a second set of numbers on x86_64
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM


def seccomp_filter(machine: str) -> bytes:
    """The filter for a machine: its own system calls that are allowed, all others refused. Raises OSError for a machine
    whose numbers are not known."""
    if machine not in SYSCALL_TABLES:
        raise OSError(f"the system calls of {machine} are not known")
    audit, numbers = SYSCALL_TABLES[machine]
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, audit), (_RETURN, 0, 0, _KILL)]
    steps += [(_LOAD, 0, 0, 0), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE)]
    for number in map(int, numbers.split()):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def lock() -> None:
    """Installs the filter, for this process and as long as it lives. Raises OSError where that cannot be done."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = seccomp_filter(platform.machine())
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer)), 16)
    for call in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, 2, ctypes.byref(fprog), 0, 0)):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {call[0]} failed")
    try:
        os.close(os.open("/", os.O_RDONLY))
    except PermissionError:
        return
    raise OSError("the filter was installed and does not hold")


def limit(cpu_seconds: int, memory_bytes: int) -> None:
    """No more than so much processor time and memory, and no core dumps.

    The signal of the soft limit says that it was the time; one that ignores it is killed a second later.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run_calls(code: str, function: str, inputs: list[list[object]]) -> dict[str, object]:
    """What `function` of the code gives for every list of arguments, or why it gave nothing."""
    try:
        names: dict[str, object] = {"__name__": "program"}
        exec(compile(code, "<program>", "exec"), names)  # noqa: S102 - what this file is for
        called = names.get(function)
        if called is None:
            return {"fault": f"there is no function {function}"}
        return {"values": [called(*arguments) for arguments in inputs]}  # type: ignore[operator]
    except BaseException as fault:
        try:
            return {"fault": f"{type(fault).__name__}: {fault}"[:300]}
        except BaseException:
            return {"fault": "an exception that cannot be shown"}


def serve_request() -> None:
    request = json.loads(sys.stdin.buffer.read())
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    answer = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.close(nothing)
    for name in PRELOADED_MODULES:
        __import__(name)
    limit(request["cpu_seconds"], request["memory_bytes"])
    try:
        lock()
    except OSError as fault:
        os.write(answer, f"{fault}\n".encode())
        os._exit(1)
    os.write(answer, b"locked\n")
    outcome = run_calls(request["code"], request["function"], request["inputs"])
    try:
        text = json.dumps(outcome, allow_nan=False)
    except BaseException as fault:
        text = json.dumps({"fault": f"a value that is no plain data ({type(fault).__name__})"})
    data = text.encode()
    while data:
        data = data[os.write(answer, data) :]
    os._exit(0)


if __name__ == "__main__":
    serve_request()
