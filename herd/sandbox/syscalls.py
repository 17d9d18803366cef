"""Which system calls code of a model may make, as filters for Linux's seccomp.

Two filters hold together. The base is installed once, in the fork server, and is inherited: it allows what the server
and its children need between them. A second one, small, is installed in every child and takes away what only the
server, a compiler or an interpreter needs. What is left is a list of allowed calls: all others are refused, also those
that later kernels bring.

Source: seccomp(2); numbers from Linux, `arch/x86/entry/syscalls/syscall_64.tbl` and
`include/uapi/asm-generic/unistd.h`.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable

# Name, number on x86_64, number on aarch64; `-` where a machine has no such call.
_NUMBERS = """
read 0 63; write 1 64; close 3 57; fstat 5 80; stat 4 -; lstat 6 -; newfstatat 262 79; statx 332 291; lseek 8 62;
mmap 9 222; mprotect 10 226; munmap 11 215; brk 12 214; mremap 25 216; madvise 28 233; mincore 27 232; msync 26 227;
rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139; rt_sigtimedwait 128 137; rt_sigpending 127 136;
rt_sigsuspend 130 133; sigaltstack 131 132; pause 34 -; futex 202 98; futex_waitv 449 449; getpid 39 172;
gettid 186 178; getppid 110 173; getuid 102 174; geteuid 107 175; getgid 104 176; getegid 108 177; getgroups 115 158;
getpgrp 111 -; getpgid 121 155; getsid 124 156; getrandom 318 278; clock_gettime 228 113; clock_getres 229 114;
clock_nanosleep 230 115; nanosleep 35 101; gettimeofday 96 169; time 201 -; times 100 153; getrusage 98 165;
sysinfo 99 179; uname 63 160; umask 95 166; getcwd 79 17; sched_yield 24 124; sched_getaffinity 204 123;
sched_getparam 143 121; sched_getscheduler 145 120; sched_get_priority_max 146 125; sched_get_priority_min 147 126;
getcpu 309 168; membarrier 324 283; rseq 334 293; set_robust_list 273 99; get_robust_list 274 100;
set_tid_address 218 96; restart_syscall 219 128; exit 60 93; exit_group 231 94; alarm 37 -; setitimer 38 103;
getitimer 36 102; getrlimit 97 163; prlimit64 302 261; prctl 157 167; arch_prctl 158 -; wait4 61 260; waitid 247 95;
open 2 -; openat 257 56; access 21 -; faccessat 269 48; faccessat2 439 439; readlink 89 -; readlinkat 267 78;
getdents64 217 61; chdir 80 49; fchdir 81 50; mkdir 83 -; mkdirat 258 34; rmdir 84 -; unlink 87 -; unlinkat 263 35;
rename 82 -; renameat 264 38; renameat2 316 276; ftruncate 77 46; fsync 74 82; fdatasync 75 83; flock 73 32;
pread64 17 67; pwrite64 18 68; readv 19 65; writev 20 66; preadv 295 69; pwritev 296 70; dup 32 23; dup2 33 -;
dup3 292 24; fcntl 72 25; ioctl 16 29; poll 7 -; ppoll 271 73; select 23 -; pselect6 270 72; epoll_create 213 -;
epoll_create1 291 20; epoll_ctl 233 21; epoll_wait 232 -; epoll_pwait 281 22; epoll_pwait2 441 441; pipe 22 -;
pipe2 293 59; eventfd2 290 19; fstatfs 138 44; statfs 137 43; fadvise64 221 223; close_range 436 436;
socketpair 53 199; sendto 44 206; recvfrom 45 207; shutdown 48 210; getsockname 51 204; getpeername 52 205;
getsockopt 55 209; clone 56 220; clone3 435 435; fork 57 -; vfork 58 -; execve 59 221; kill 62 129; tgkill 234 131;
sendmsg 46 211; recvmsg 47 212; setrlimit 160 164; setresuid 117 147; setresgid 119 149; setgroups 116 159;
capset 126 91; capget 125 90; setsid 112 157; seccomp 317 277; landlock_create_ruleset 444 444;
landlock_add_rule 445 445; landlock_restrict_self 446 446; pidfd_open 434 434; pidfd_send_signal 424 424;
mount 165 40; umount2 166 39; fchownat 260 54; chown 92 -; chmod 90 -; fchmodat 268 53; sched_setscheduler 144 119;
utimensat 280 88
"""
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_COMPUTING = """
read write close fstat lseek mmap mprotect munmap brk mremap madvise mincore msync rt_sigaction rt_sigprocmask
rt_sigreturn rt_sigtimedwait rt_sigpending rt_sigsuspend sigaltstack pause futex futex_waitv getpid gettid getppid
getuid geteuid getgid getegid getgroups getpgrp getpgid getsid getrandom clock_gettime clock_getres clock_nanosleep
nanosleep gettimeofday time times getrusage sysinfo uname umask getcwd sched_yield sched_getaffinity sched_getparam
sched_getscheduler sched_get_priority_max sched_get_priority_min getcpu membarrier rseq set_robust_list
get_robust_list set_tid_address restart_syscall exit exit_group alarm setitimer getitimer getrlimit wait4 waitid
ftruncate fsync fdatasync flock pread64 pwrite64 readv writev preadv pwritev dup dup2 dup3 poll ppoll select pselect6
epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 pipe pipe2 eventfd2 fadvise64 close_range
recvfrom shutdown getsockname getpeername getsockopt
""".split()
# Allowed with certain arguments only, see `_conditions`.
_CONDITIONAL = "prlimit64 prctl fcntl ioctl socketpair sendto clone clone3 kill tgkill".split()
# By path: allowed where Landlock or a root folder of its own decides which.
_FILES = """
stat lstat newfstatat statx open openat access faccessat faccessat2 readlink readlinkat getdents64 chdir fchdir mkdir
mkdirat rmdir unlink unlinkat rename renameat renameat2 fstatfs statfs
""".split()
_INTERPRETER = "execve arch_prctl capget sched_setscheduler".split()
_COMPILER = "fork vfork".split()
_SERVER = """
sendmsg recvmsg setrlimit setresuid setresgid setgroups capset setsid seccomp landlock_create_ruleset landlock_add_rule
landlock_restrict_self pidfd_open pidfd_send_signal mount umount2 fchownat chown chmod fchmodat utimensat
""".split()

_PYTHON_CALLS = frozenset(_COMPUTING + _CONDITIONAL)
ALLOWED_SYSCALLS = {
    "compute": _PYTHON_CALLS,  # no path at all
    "python": _PYTHON_CALLS | set(_FILES),
    "program": _PYTHON_CALLS | {*_FILES, *_INTERPRETER},
    "compiler": _PYTHON_CALLS | {*_FILES, *_INTERPRETER, *_COMPILER},
}
BASE_SYSCALLS = ALLOWED_SYSCALLS["compiler"] | set(_SERVER)

_X32 = 0x40000000  # a second set of numbers on x86_64
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE, _MISSING = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS

_Step = tuple[int, int, int, int]
_GO, _STOP = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)


def syscall_numbers(machine: str) -> dict[str, int]:
    """The number of every call that a filter names. Raises OSError for a machine whose numbers are not known."""
    if machine not in _AUDIT:
        raise OSError(f"the system calls of {machine} are not known")
    column = 1 + list(_AUDIT).index(machine)
    rows = [row.split() for row in _NUMBERS.split(";")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def _word(argument: int, high: bool = False) -> _Step:
    """Loads the low or the high word of an argument; both machines are little-endian."""
    return (_LOAD, 0, 0, 16 + 8 * argument + 4 * high)


def _only(argument: int, values: Iterable[int]) -> list[_Step]:
    steps = [_word(argument)]
    for value in values:
        steps += [(_EQUAL, 0, 1, value), _GO]
    return [*steps, _STOP]


def _zero(*words: _Step) -> list[_Step]:
    """All of these words are zero."""
    steps = []
    for word in words:
        steps += [word, (_EQUAL, 1, 0, 0), _STOP]
    return [*steps, _GO]


def _to_itself(pid: int, signal: int) -> list[_Step]:
    """A signal to the process itself; not the one that would look as if the system had ended it. signal: argument."""
    return [
        _word(0), (_EQUAL, 1, 0, pid), _STOP, _word(signal), (_EQUAL, 0, 1, _SIGKILL), _STOP, _GO,
    ]  # fmt: skip


_SIGKILL = 9
_THREAD = 0x00010000
_DUPFD_TO_SETLKW, _DUPFD_CLOEXEC, _GETPIPE_SZ = range(8), 1030, 1032  # not F_SETOWN: signals to others
_TERMINAL_SIZE, _IS_TERMINAL, _BYTES_READY, _NON_BLOCKING, _NO_CLOEXEC, _CLOEXEC = (
    0x5413, 0x5401, 0x541B, 0x5421, 0x5450, 0x5451,
)  # fmt: skip
_SET_NAME, _GET_NAME, _SET_VMA = 15, 16, 0x53564D41
_UNIX, _STREAM = 1, 1


def _conditions(profile: str, pid: int) -> dict[str, list[_Step]]:
    """What a call's arguments must be. pid: of the process that the filter is for, which may send itself signals."""
    threads: list[_Step] = [_word(0), (_ANY_BIT, 0, 1, _THREAD), _GO, _STOP]
    # Cutting a file that is open for reading only: Landlock before its third version does not see it.
    cutting: list[_Step] = [(_AND, 0, 0, 0o1003), (_EQUAL, 0, 1, 0o1000), _STOP, _GO]
    rules = {
        "prlimit64": _zero(_word(0), _word(2), _word(2, high=True)),  # read one's own
        "prctl": _only(0, (_SET_NAME, _GET_NAME, _SET_VMA)),
        "fcntl": _only(1, (*_DUPFD_TO_SETLKW, _DUPFD_CLOEXEC, _GETPIPE_SZ)),
        "ioctl": _only(1, (_TERMINAL_SIZE, _IS_TERMINAL, _BYTES_READY, _NON_BLOCKING, _NO_CLOEXEC, _CLOEXEC)),
        # A pair of connected streams, as event loops want; a datagram could be sent elsewhere.
        "socketpair": [
            _word(0), (_EQUAL, 1, 0, _UNIX), _STOP, _word(1), (_AND, 0, 0, 0xF), (_EQUAL, 0, 1, _STREAM), _GO, _STOP,
        ],
        "sendto": _zero(_word(4), _word(4, high=True)),  # no address
        "clone": threads,
        "clone3": [(_RETURN, 0, 0, _MISSING)],  # its flags cannot be seen; the C library falls back to clone
        "kill": _to_itself(pid, 1),
        "tgkill": _to_itself(pid, 2),
        "openat": [_word(2), *cutting],
        "open": [_word(1), *cutting],
    }  # fmt: skip
    if profile == "compiler":
        del rules["clone"], rules["open"], rules["openat"]
    return rules


def _encode(machine: str, body: list[_Step], default: int) -> bytes:
    start = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, _AUDIT[machine]), (_RETURN, 0, 0, _KILL)]
    start += [(_LOAD, 0, 0, 0), (_AT_LEAST, 0, 1, _X32), _STOP]
    return b"".join(struct.pack("HBBI", *step) for step in (*start, *body, (_RETURN, 0, 0, default)))


def base_filter(machine: str) -> bytes:
    """The filter of the fork server, which all its children inherit. Raises OSError for an unknown machine."""
    numbers = syscall_numbers(machine)
    body: list[_Step] = []
    for number in sorted(numbers[name] for name in BASE_SYSCALLS & numbers.keys()):
        body += [(_EQUAL, 0, 1, number), _GO]
    return _encode(machine, body, _REFUSE)


def profile_filter(machine: str, profile: str, pid: int) -> bytes:
    """The filter of one child, which lies over the base: refuses what of the base the profile does not allow.

    Raises OSError for an unknown machine.
    """
    numbers, rules = syscall_numbers(machine), _conditions(profile, pid)
    body: list[_Step] = []
    for name in sorted(BASE_SYSCALLS & numbers.keys()):
        steps = rules.get(name, []) if name in ALLOWED_SYSCALLS[profile] else [_STOP]
        if steps:
            body += [(_EQUAL, 0, len(steps), numbers[name]), *steps]
    return _encode(machine, body, _ALLOW)
