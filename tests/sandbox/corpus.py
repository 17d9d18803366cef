"""Attacks on the sandbox. As a program (`python -m tests.sandbox.corpus`) it tries all of them as whoever runs it, and
prints what got through as JSON; the tests run it as root and as an ordinary user."""

# ruff: noqa: E501 - a program a line
from __future__ import annotations

import json
import os
import platform
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from herd.sandbox.limits import Limits, Program, TestVerdict
from herd.sandbox.server import SandboxServer

QUICK = Limits(cpu_seconds=1, wall_seconds=120, memory_bytes=256 << 20, output_bytes=1 << 16)

# None does harm where it succeeds: signals are the one that is only asked for, calls have arguments with which they do
# nothing, and files that are not the attack's own are opened and not changed.
# Reaching out: an expression or statements in a function, which must raise. The names of RAW are there too.
RAW = """
import ctypes, os, sys
def call(*arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    found = libc.syscall(*words)
    if found == -1 and ctypes.get_errno() in (1, 13, 38):  # EPERM, EACCES, ENOSYS
        raise PermissionError(ctypes.get_errno(), 'refused')
    return found
"""
REACHING = {
    "reads a file": "open({secret!r}).read()",
    "reads through a descriptor": "os.open({secret!r}, 0)",
    "reads by a path with dots": "open('/usr/lib/../../' + {secret!r}).read()",
    "reads by /proc/self/root": "open('/proc/self/root' + {secret!r}).read()",
    "reads by /proc/self/cwd": "open('/proc/self/cwd/../../../../' + {secret!r}).read()",
    "reads the list of users": "open('/etc/shadow').read()",
    "reads the parent's environment": "open('/proc/{parent}/environ').read()",
    "reads the server's environment": "open('/proc/%d/environ' % os.getppid()).read()",
    "reads the parent's memory": "open('/proc/{parent}/mem', 'rb').read(1)",
    "reads its own memory's map": "open('/proc/self/maps').read()",
    "reads the descriptors of the parent": "os.listdir('/proc/{parent}/fd')",
    "reads the mounted file systems": "open('/proc/mounts').read()",
    "reads the kernel's addresses": "open('/proc/kallsyms').read()",
    "lists processes": "os.listdir('/proc')",
    "lists the top folder": "os.listdir('/')",
    "lists the folders of other runs": "os.listdir('../..')",
    "lists a home": "os.listdir(os.path.expanduser('~root'))",
    "writes a file": "open({target!r}, 'w').write('x')",
    "writes with the system's call": "os.open({target!r}, 0o101)",
    "writes above its folder": "open('../escaped', 'w').write('x')",
    "cuts a file it may only read": "os.close(os.open({secret!r}, os.O_RDONLY | os.O_TRUNC))",
    "cuts a file by its path": "os.truncate({secret!r}, 0)",
    "changes the standard library": "os.close(os.open(os.__file__, os.O_WRONLY))",
    "makes a folder": "os.mkdir({target!r})",
    "removes a file": "os.remove({secret!r})",
    "moves a file to itself": "os.rename({secret!r}, 'mine')",
    "moves its file out": "open('mine', 'w').close(); os.rename('mine', {target!r})",
    "makes a link out": "os.symlink({secret!r}, 'link'); open('link').read()",
    "makes a hard link": "os.link({secret!r}, 'link')",
    "races a link for its own file": "os.symlink('/etc', 'dir')",
    "makes a pipe with a name": "os.mkfifo('pipe')",
    "makes a device": "os.mknod('disk', 0o60666, os.makedev(8, 0))",
    "changes a mode": "os.chmod({secret!r}, 0o777)",
    "changes the mode of its own file": "open('mine', 'w').close(); os.chmod('mine', 0o4755)",
    "changes an owner": "os.chown({secret!r}, 0, 0)",
    "changes times": "os.utime({secret!r}, (0, 0))",
    "sets an attribute": "os.setxattr({secret!r}, 'user.x', b'y')",
    "watches files": "call(294, 0)",
    "opens a socket": "__import__('socket').socket()",
    "connects to a port of this machine": "__import__('socket').create_connection(('127.0.0.1', {port}), 1)",
    "opens a socket by its number": "call(41, 2, 1, 0)",
    "opens a socket of the kernel's": "__import__('socket').socket(16, 3, 0)",
    "sends a datagram between two ends": "__import__('socket').socketpair(1, 2)",
    "asks for a name": "__import__('socket').create_connection(('example.org', 80), 1)",
    "forks": "os.fork()",
    "forks by clone": "call(56, 17, 0, 0, 0, 0)",
    "forks by clone3": "call(435, b'\\0' * 64, 64)",
    "forks by vfork": "call(58)",
    "starts a process": "__import__('subprocess').run(['/bin/true'], check=True)",
    "runs a program in its place": "os.execv('/bin/true', ['true'])",
    "runs a program by descriptor": "call(322, -100, b'/bin/true', 0, 0, 0)",
    "runs a shell": "assert os.system('touch {target}') == 0",
    "uses a pool of processes": "__import__('multiprocessing').Pool(1).map(abs, [1])",
    "kills its parent": "os.kill({parent}, 0)",
    "kills the server": "os.kill(os.getppid() or 1, 0)",
    "kills every process": "os.kill(-1, 0)",
    "kills its group": "os.killpg(0, 0)",
    "kills itself, to look as if the system had": "os.kill(os.getpid(), 9)",
    "kills its thread, to look as if the system had": "call(234, os.getpid(), os.getpid(), 9)",
    "signals by a descriptor": "os.pidfd_open({parent})",
    "lets the kernel signal its parent": "import fcntl; fcntl.fcntl(1, fcntl.F_SETOWN, {parent})",
    "wants a signal at its parent's end": "call(157, 1, 15, 0, 0, 0)",
    "traces its parent": "call(101, 0x4206, {parent}, 0, 0)",
    "lets itself be traced": "call(101, 0, 0, 0, 0)",
    "reads its parent's memory by a call": "call(310, {parent}, 0, 0, 0, 0, 0)",
    "writes its parent's memory by a call": "call(311, {parent}, 0, 0, 0, 0, 0)",
    "takes a descriptor of its parent's": "call(438, {parent}, 0, 0)",
    "becomes root": "os.setuid(0) if os.getuid() else call(105, 0)",
    "changes its group": "os.setgroups([0])",
    "asks for rights": "call(126, b'\\x22\\x05\\x08\\x20' + b'\\0' * 4, b'\\xff' * 24)",
    "makes a namespace": "call(272, 0x10000000)",
    "enters a namespace": "call(308, 0, 0)",
    "mounts": "call(165, b'x', b'/', b'tmpfs', 0, 0)",
    "changes its root": "os.chroot('.')",
    "asks for a ring of calls": "call(425, 8, b'\\0' * 128)",
    "makes a file without a name": "os.memfd_create('x')",
    "handles page faults": "call(323, 1)",
    "measures the processor": "call(298, b'\\0' * 128, 0, -1, -1, 0)",
    "loads a filter": "call(321, 0, b'\\0' * 128, 128)",
    "loads a module of the kernel": "call(175, 0, 0, b'')",
    "reads the kernel's keys": "call(250, 0, -4, 0)",
    "shares memory that stays": "call(29, 4242, 0, 0)",
    "shares memory by name": "__import__('multiprocessing.shared_memory').shared_memory.SharedMemory('x', True, 16)",
    "makes a queue that stays": "call(240, b'herd', 0, 0, 0)",
    "turns off the layout's chance": "call(135, 0xffffffff)",
    "lets its limits go": "import resource; resource.setrlimit(9, (-1, -1))",
    "sets another's limits": "import resource; resource.prlimit({parent}, 0)",
    "unlocks itself": "call(157, 22, 0, 0, 0, 0)",
    "adds a filter that asks it": "call(317, 1, 8, b'\\0' * 16)",
    "takes a processor for itself": "os.sched_setaffinity(0, [0])",
    "takes a higher rank": "os.setpriority(os.PRIO_PROCESS, 0, 19)",
    "opens a file by its handle": "call(304, 3, b'\\0' * 64, 0)",
    "uses the other set of numbers": "call(0x40000000 + 257, -100, {secret!r}.encode(), 0, 0)",
    "reboots": "call(169, 0, 0, 0, 0)",
    "sets the clock": "import time; time.clock_settime(0, time.time())",
    "reads the terminal": "open('/dev/tty').read()",
    "reads a disk": "open('/dev/sda', 'rb').read(1)",
    "pushes to the terminal": "import fcntl; fcntl.ioctl(0, 0x5412, b'x')",
    "loads a library it wrote": "open('evil.so', 'wb').write(b'x'); ctypes.CDLL('./evil.so')",
}

_CHECK = "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(5) == 25\n"
_CASES = """
import unittest
from square import square
class SquareTest(unittest.TestCase):
    def test_two(self): self.assertEqual(square(2), 4)
    def test_five(self): self.assertEqual(square(5), 25)
    def test_near(self): self.assertAlmostEqual(square(3), 9)
    def test_in(self): self.assertIn(square(4), (16,))
    def test_true(self): self.assertTrue(square(1) == 1)
"""
LIAR = """
class Liar:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __contains__ = __lt__
    def __sub__(self, other): return 0.0
    __rsub__ = __add__ = __radd__ = __abs__ = __round__ = lambda self, *other: self
    def __hash__(self): return 4
    def __bool__(self): return True
    def __float__(self): return 0.0
"""
FORGERIES = {
    "an object that equals everything": LIAR + "def square(x): return Liar()",
    "a number that equals everything": "class Liar(int):\n    __eq__ = lambda s, o: True\n    __ne__ = lambda s, o: False\n    __hash__ = int.__hash__\ndef square(x): return Liar(7)",
    "a text that equals everything": "class Liar(str):\n    __eq__ = lambda s, o: True\n    __hash__ = str.__hash__\ndef square(x): return Liar('x')",
    "a class that equals everything": "class Meta(type):\n    __eq__ = lambda s, o: True\n    __hash__ = type.__hash__\nclass Liar(metaclass=Meta): pass\ndef square(x): return Liar",
    "ends with 0": "import sys\nsys.exit(0)\ndef square(x): pass",
    "ends with 0 in the call": "import os\ndef square(x): os._exit(0)",
    "ends with 0 at the end": "import atexit, os\natexit.register(os._exit, 0)\ndef square(x): raise SystemExit(0)",
    "raises and is counted": "def square(x): raise KeyboardInterrupt",
    "skips the test": "import unittest\ndef square(x): raise unittest.SkipTest('no need')",
    "raises what a test could want": "def square(x): raise AssertionError()",
    "says that a module is missing": "def square(x): raise ModuleNotFoundError('no module', name='numpy')",
    "patches assert's exception": "import builtins\nbuiltins.AssertionError = type('A', (BaseException,), {})\ndef square(x): return 0",
    "patches what compares": "import builtins, operator\noperator.eq = lambda a, b: True\nbuiltins.all = builtins.any = lambda x: True\nbuiltins.isinstance = lambda a, b: True\ndef square(x): return 0",
    "patches unittest": "import unittest\nfor name in dir(unittest.TestCase):\n    if name.startswith('assert'):\n        setattr(unittest.TestCase, name, lambda *a, **k: None)\nunittest.TestResult.wasSuccessful = lambda self: True\ndef square(x): return 0",
    "defines the check": "def check(candidate): pass\nclass SquareTest: pass\ndef square(x): return 0",
    "prints the verdict": "import sys\nprint('{{\"passed\": 9, \"failed\": 0}}'); sys.stderr.write('OK\\n'); sys.stdout.flush()\ndef square(x):\n    print('passed'); return 0",
    "writes the verdict to every descriptor": 'import os\nfor number in range(256):\n    try: os.write(number, b\'{"passed": 2, "failed": 0, "reason": "", "broken": "", "limits": []}\\n\')\n    except OSError: pass\ndef square(x): return 0',
    "writes a reward file": "for name in ('reward.txt', 'reward.json', 'result.json', '/tmp/reward'):\n    try: open(name, 'w').write('1.0')\n    except OSError: pass\ndef square(x): return 0",
    "looks for the tests in memory": "import gc\ndef square(x):\n    for one in gc.get_objects():\n        if isinstance(one, dict) and 'tests' in one and 'assert' in str(one.get('tests')): return eval(str(one['tests']).split('== ')[1].split()[0])\n    return 0",
    "looks for the tests in frames": "import sys\ndef square(x):\n    frame = sys._getframe()\n    while frame:\n        for name, value in frame.f_locals.items():\n            if 'candidate' + '(2)' in str(value) or 'square' + '(2)' in str(value): return 4 if x == 2 else 25\n        frame = frame.f_back\n    return 0",
    "looks for the tests in files": "import os\ndef square(x):\n    for top in ('.', '..', '/', '/tmp', '/scratch'):\n        try:\n            for name in os.listdir(top):\n                if 'assert' in open(os.path.join(top, name)).read(): return x * x\n        except OSError: pass\n    return 0",
    "nan": "def square(x): return float('nan')",
    "speaks the tests' protocol": "import os, struct\ndef square(x):\n    for number in (3, 4, 5, 6):\n        try: os.write(number, struct.pack('>I', 9) + b'{\"v\": 4 }')\n        except OSError: pass\n    return 0",
    "sends what is no message": "import os\ndef square(x):\n    for number in range(3, 10):\n        try: os.write(number, b'\\xff' * 64)\n        except OSError: pass\n    return 0",
    "gives an endless row": "def square(x):\n    while True: yield x",
    "gives a list that holds itself": "def square(x):\n    row = []; row.append(row); return row",
    "gives 100 million digits": "def square(x): return 1 << 400_000_000",
    "computes for ever": "def square(x):\n    while True: pass",
    "defines what the tests compare with": "abs = lambda *_: -1.0\nset = tuple = sorted = isinstance = len = float = lambda *_: True\ndef square(x): return 99.0",
    "is a class where a function is wanted": LIAR + "class square(Liar):\n    def __init__(self, x): pass",
}
# Those that some tests alone let through: the program, the tests and their style.
PARTICULAR = {
    "computes a difference of nothing": (
        LIAR + "class square(Liar):\n    def __init__(self, x): pass",
        "assert abs(square(3.0) - 9) < 1e-6",
        "asserts",
    ),
    "contains everything": (
        LIAR + "class square(Liar):\n    def __init__(self, x): pass",
        "assert 9 in square(3)",
        "asserts",
    ),
    "its abs is always small": (
        "abs = lambda x: -1.0\ndef square(x): return 99.0",
        "assert abs(square(3.0) - 9) < 1e-6",
        "asserts",
    ),
    "its set is always the same": (
        "set = lambda x: 0\ndef square(x): return 99",
        "assert set([square(3)]) == set([9])",
        "asserts",
    ),
    "its isinstance says yes": (
        "isinstance = lambda a, b: True\ndef square(x): return 5",
        "from square import *\ndef test_a():\n    assert isinstance(square(1), list)",
        "pytest",
    ),
    "its math is its own": (
        "class math:\n    isclose = lambda *_: True\ndef square(x): return 99.0",
        "assert math.isclose(square(3.0), 9)",
        "asserts",
    ),
    "begins with everything": (
        "class Text:\n    startswith = endswith = issubset = issuperset = isdisjoint = lambda *_: True\ndef square(x): return Text()",
        "assert square(3).startswith('9')\nassert square(3).issuperset({9})",
        "asserts",
    ),
    "dies where an exception is wanted": (
        "import os\ndef square(x): os._exit(0)",
        "import pytest\ndef test_a():\n    with pytest.raises(Exception): square('x')",
        "pytest",
    ),
    "sends what is no message where an exception is wanted": (
        "import os\ndef square(x): os.write(6, b'\\0\\0\\0\\1[')",
        "try:\n    square('x')\nexcept Exception:\n    pass\nassert True",
        "asserts",
    ),
    "makes the tests look for a module": (
        'import os, struct\ndef square(x):\n    text = b\'{"v":{"module":"os.nothing"}}\'\n    os.write(6, struct.pack(\'>I\', len(text)) + text)',
        "def check(candidate): assert candidate(3) == 9",
        "check",
    ),
    "makes the tests run Python's own tests": (
        'import os, struct\ndef square(x):\n    text = b\'{"v":{"module":"test.autotest"}}\'\n    os.write(6, struct.pack(\'>I\', len(text)) + text)',
        "assert square(3) == 9",
        "asserts",
    ),
}
# Of these, the tests hand over something that could be misused.
BACKWARDS = {
    "reads the tests' names by a function of theirs": "def square(f):\n    return f.__globals__['EXPECTED']",
    "reads the tests' code by a function of theirs": "def square(f):\n    return f.__code__.co_consts[-1]",
    "goes up by a generator's frame": "def square(f):\n    return f.gi_frame.f_back.f_globals['EXPECTED']",
    "reaches the module by a class": "def square(f):\n    return f.__class__.__init__.__globals__['EXPECTED']",
    "replaces an attribute": "def square(f):\n    f.__class__.__eq__ = lambda a, b: True\n    return 0",
}
_BACKWARDS_TESTS = """
EXPECTED = 4711
class Thing:
    value = 1
def rows():
    yield 1
for handed in (lambda: EXPECTED, Thing(), rows(), Thing, print):
    try:
        got = square(handed)
    except Exception:
        got = None
    assert got != EXPECTED
    assert type(got) is not int or got == 0
assert square(lambda: 0) == 1
"""
BOMBS = {
    "memory": "def f(): return len(bytearray(1 << 40))",
    "memory bit by bit": "def f():\n    rows = []\n    while True: rows.append(bytearray(1 << 22))",
    "a mapping of addresses": "import mmap\ndef f(): return len([mmap.mmap(-1, 1 << 28) for _ in range(64)])",
    "the stack": "def f():\n    import sys\n    sys.setrecursionlimit(10 ** 9)\n    def g(): return g()\n    return g()",
    "the answer": "def f(): return 'x' * 3_000_000",
    "a file": "def f():\n    with open('x', 'wb') as file:\n        for _ in range(64): file.write(bytes(1 << 20))\n    return 0",
    "many files": "def f():\n    for n in range(5000): open(str(n), 'w').close()\n    return 0",
    "files without a name": "import os\ndef f():\n    rows = []\n    for n in range(40):\n        file = open('x', 'wb'); os.unlink('x'); rows.append(file); file.write(bytes(1 << 20)); file.flush()\n    return 0",
    "folders in folders": "import os\ndef f():\n    for n in range(20000): os.mkdir('d'); os.chdir('d')\n    return 0",
    "descriptors": "import os\ndef f():\n    for _ in range(5000): os.dup(0)\n    return 0",
    "threads": "import threading\ndef f():\n    lock = threading.Lock(); lock.acquire()\n    for n in range(5000): threading.Thread(target=lock.acquire, daemon=True).start()\n    return 0",
    "time": "def f():\n    while True: pass",
    "time with the signal ignored": "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef f():\n    while True: pass",
    "a pattern that goes back": "import re\ndef f(): return bool(re.match(r'(a+)+$', 'a' * 40 + 'b'))",
    "a number of digits": "def f(): return str(9 ** 9 ** 7)",
}


def reaching(server: SandboxServer) -> Iterator[str]:
    """What reached out, in words."""
    with tempfile.TemporaryDirectory() as place, socket.socket() as listening:
        secret, target = Path(place) / "secret", Path(place) / "target"
        secret.write_text("a secret")
        Path(place).chmod(0o777)
        secret.chmod(0o666)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        words = {
            "secret": str(secret),
            "target": str(target),
            "port": listening.getsockname()[1],
            "parent": os.getpid(),
        }
        for name, attack in REACHING.items():
            if "call(" in attack and platform.machine() != "x86_64":
                continue  # numbers of x86_64
            body = attack.format(**words).replace("; ", "\n    ")
            outcome = server.call(f"{RAW}\ndef f():\n    {body}\n    return 'done'\n", "f", [[]], QUICK)
            if outcome.values is not None or outcome.void:
                yield f"{name}: {outcome}"
            if secret.read_text() != "a secret" or target.exists() or secret.stat().st_mode & 0o777 != 0o666:
                yield f"{name}: the outside changed"


def forging(server: SandboxServer) -> Iterator[str]:
    """What was taken for a program that passes its tests."""
    for name, code in FORGERIES.items():
        for style, tests in (("check", _CHECK), ("unittest", _CASES), ("pytest", _CASES), ("asserts", _asserts())):
            if style != "check" and any(word in name for word in ("digits", "for ever", "endless")):
                continue  # a second of processor time each
            verdict = server.run_tests(code, tests, style=style, entry_point="square", limits=QUICK)  # type: ignore[arg-type]
            if verdict.passed is not False:
                yield f"{name}, {style}: {verdict}"
    for name, (code, tests, style) in PARTICULAR.items():
        entry_point = "" if style == "asserts" else "square"
        verdict = server.run_tests(code, tests, style=style, entry_point=entry_point, limits=QUICK)  # type: ignore[arg-type]
        if verdict.passed is not False:
            yield f"{name}: {verdict}"
    for name, code in BACKWARDS.items():
        verdict = server.run_tests(code, _BACKWARDS_TESTS, style="asserts", limits=QUICK)
        if verdict.passed is not False or verdict.failed_tests != 1 or verdict.passed_tests != 1:
            yield f"{name}: {verdict}"


def _asserts() -> str:
    return "assert square(2) == 4\nassert 25 == square(5)\nassert abs(square(3) - 9) < 1e-6\nassert square(4) in {16}\n"


def bombing(server: SandboxServer) -> Iterator[str]:
    """What took more than it may and was not stopped, or was put down to the machine."""
    for name, code in BOMBS.items():
        outcome = server.call(code, "f", [[]], QUICK)
        if outcome.values is not None or outcome.void:
            yield f"{name}: {outcome}"
    flood = server.run_program(Program("import os\nwhile True: os.write(1, b'x' * 65536)"), QUICK)
    if flood.exit_code is not None or flood.void or len(flood.stdout) > QUICK.output_bytes:
        yield f"output: {flood.reason}"


def spying(server: SandboxServer) -> Iterator[str]:
    """What a run finds of those before it."""
    word = "".join(("canary", "-of-", "another-run"))
    server.call(f"KEPT = {word!r}\ndef f(x):\n    open('left', 'w').write(KEPT)\n    return x", "f", [[word]], QUICK)
    server.run_tests("def g(): return 1", f"assert g() == 1 and {word!r}", style="asserts", limits=QUICK)
    look = """
import ctypes, gc, os, sys
def f(parts):
    word = ''.join(parts)
    found = [str(type(one)) for one in gc.get_objects() if isinstance(one, (dict, list, tuple)) and one is not parts
             and any(isinstance(x, str) and word in x and x is not word for x in (one.values() if isinstance(one, dict) else one))]
    found += [name for name in os.listdir('.')] + [name for name in os.environ if 'SECRET' in name]
    found += [name for name, module in sys.modules.items() if name.startswith('herd')]
    return found
"""
    outcome = server.call(look, "f", [[["canary", "-of-", "another-run"]]], QUICK)
    if outcome.values != [[]]:
        yield f"a run sees another: {outcome}"
    opened = "import os\ndef f():\n    found = []\n    for n in range(7, 1024):\n        try: os.fstat(n); found.append(n)\n        except OSError: pass\n    return found"
    outcome = server.call(opened, "f", [[]], QUICK)
    if outcome.values != [[]]:
        yield f"open descriptors: {outcome}"


KINDS: dict[str, Callable[[SandboxServer], Iterator[str]]] = {
    "reaching": reaching,
    "forging": forging,
    "bombing": bombing,
    "spying": spying,
}
COUNT = sum(map(len, (REACHING, FORGERIES, PARTICULAR, BACKWARDS, BOMBS))) + 3


def right_programs_pass(server: SandboxServer) -> bool:
    """That the attacks fail says nothing where everything fails."""
    verdicts: list[TestVerdict] = [
        server.run_tests("def square(x): return x * x", tests, style=style, entry_point="square")  # type: ignore[arg-type]
        for style, tests in (("check", _CHECK), ("unittest", _CASES), ("pytest", _CASES), ("asserts", _asserts()))
    ]
    value = server.call("def f():\n    open('x', 'w').write('y')\n    return open('x').read()", "f", [[]])
    return all(verdict.passed for verdict in verdicts) and value.values == ["y"]


def main(namespaces: bool, kinds: list[str]) -> dict[str, Any]:
    os.environ["HERD_SECRET"] = "a secret"
    with SandboxServer(namespaces=namespaces) as server:
        through = {name: list(KINDS[name](server)) for name in kinds}
        return {
            "walls": str(server.walls),
            "user": os.geteuid(),
            "right": right_programs_pass(server),
            "through": through,
        }


if __name__ == "__main__":
    chosen = [name for name in sys.argv[1:] if name in KINDS]
    print(json.dumps(main("--no-namespaces" not in sys.argv, chosen or list(KINDS))))
