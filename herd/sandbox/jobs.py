"""What a fork does: it goes behind the walls, says so, reads what it is to run, and runs it.

Only the standard library is used: this is the process in which code of a model runs.
"""

from __future__ import annotations

import fcntl
import gc
import io
import json
import os
import random
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from herd.sandbox import suites, walls
from herd.sandbox.candidate import serve_candidate
from herd.sandbox.walls import LockStep, take_steps
from herd.sandbox.wire import LOCK_WORD, Connection

BINARY = "program"  # the file that a compiler makes
REQUEST, ANSWER, PEER_IN, PEER_OUT = 3, 4, 5, 6
LOW_DESCRIPTORS = 8  # those of a run, and of its rules
_HIGH, _MOST = 200, 8192
_PART = 1 << 16
_REQUEST_BYTES = 64 << 20
_ENCODER = json.JSONEncoder(allow_nan=False)
# Reads our own JSON, without the search for blanks around it.
_SCAN: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_FILES_OF_ALL = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")


@dataclass(frozen=True)
class JobCell:
    """Where a run takes place. scratch: its folder. user: whose it is; None for that of the fork server. ruleset: of
    Landlock, where it is prepared for programs in Python. readable: what others may read. landlock: its version.
    filters: of system calls, where there are any. own_root: whether nothing else is in sight anyway."""

    scratch: str
    user: int | None
    ruleset: int | None
    readable: Sequence[str]
    landlock: int
    filters: walls.ProfileFilters | None
    own_root: bool


def lock_and_run(
    job: Mapping[str, Any], descriptors: Sequence[LockStep], locks: Sequence[LockStep], cell: JobCell
) -> None:
    """Never comes back. descriptors: the steps of `arrange_steps`. locks: those of `lock_steps`; empty where the rules
    for files are to be made here.

    Both lists are made before the fork: a run then only walks through them, and every page of the server's memory that
    it need not touch is one that need not be copied for it.
    """
    os.setsid()
    take_steps(descriptors)
    try:
        os.chdir(cell.scratch)
        if cell.filters is not None:
            cell.filters.fill(_filter_name(job, cell))
        take_steps(locks or lock_steps(job, cell, _file_rules(job, cell)))
        os.write(ANSWER, LOCK_WORD)
    except BaseException as fault:
        os.write(ANSWER, f"{type(fault).__name__}: {fault}\n".encode())
        os._exit(1)
    request, _ = _SCAN(_read_all(REQUEST).decode(), 0)
    gc.freeze()  # what was there before is not looked through, nor copied for it
    gc.enable()
    JOBS_BY_KIND[job["kind"]](request)
    os._exit(0)


def arrange_steps(descriptors: Sequence[int], ruleset: int | None) -> list[LockStep]:
    """The given descriptors become 0, 1, 2, ..., and that of the rules the one after; no other stays open. None of them
    may be one of the first `LOW_DESCRIPTORS`."""
    steps: list[LockStep] = [(os.dup2, (element, target, target <= 2)) for target, element in enumerate(descriptors)]
    count = len(descriptors)
    if ruleset is not None:
        steps.append((os.dup2, (ruleset, count, False)))
        count += 1
    return [*steps, (os.closerange, (count, _MOST))]


def arrange(descriptors: Sequence[int]) -> None:
    """The given descriptors, whichever they are, become 0, 1, 2, ...; no other stays open."""
    take_steps(arrange_steps([fcntl.fcntl(element, fcntl.F_DUPFD, _HIGH) for element in descriptors], None))


def lock_steps(job: Mapping[str, Any], cell: JobCell, ruleset: int | None) -> list[LockStep]:
    """The walls around one run, one after another. ruleset: its descriptor there. The filter of system calls must have
    been given the number of its process."""
    steps = walls.ResourceLimits(**job["limits"]).steps()
    if cell.user is not None:
        steps += walls.user_steps(cell.user)
    elif sys.platform == "linux":
        steps.append((walls.drop_capabilities, ()))
    if sys.platform == "linux":
        steps += walls.process_steps()
    if ruleset is not None:
        steps += [*walls.file_steps(ruleset), (os.close, (ruleset,))]
    if cell.filters is not None:
        steps += cell.filters.steps(_filter_name(job, cell))
    return steps


def _filter_name(job: Mapping[str, Any], cell: JobCell) -> str:
    return job["profile"] if cell.landlock or cell.own_root else "compute"


def _file_rules(job: Mapping[str, Any], cell: JobCell) -> int | None:
    """Rules for a run in its folder that are made for it alone."""
    if job["profile"] == "program" and os.path.isfile(BINARY) and not os.path.islink(BINARY):
        os.chmod(BINARY, 0o700)  # the compiler itself may not change modes
    if not cell.landlock:
        return None
    executes = job["profile"] in ("program", "compiler")
    rules = file_rights(job.get("readable", cell.readable), cell.scratch, executes and "executable" not in job)
    rules += [(path, walls.READ_FILE | walls.EXECUTE) for path in job.get("executable", ())]
    if executes:
        rules += [(cell.scratch, walls.WRITE | walls.EXECUTE), (f"/proc/{os.getpid()}", walls.READ)]
    return walls.file_rules(rules, cell.landlock)


def file_rights(readable: Sequence[str], scratch: str, executes: bool) -> list[tuple[str, int]]:
    """What a run may do with which paths, for Landlock."""
    rules = [(path, walls.READ | walls.EXECUTE if executes else walls.READ) for path in readable]
    rules.append((scratch, walls.WRITE))
    return rules + [(path, walls.READ_FILE | walls.WRITE_FILE * (path == "/dev/null")) for path in _FILES_OF_ALL]


def _read_all(descriptor: int) -> bytes:
    parts, size = [], 0
    while size < _REQUEST_BYTES and (part := os.read(descriptor, _PART)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


def _answer(text: str) -> None:
    data = text.encode()
    while data:
        data = data[os.write(ANSWER, data) :]


def prepare() -> None:
    """What is the same for all runs, once, before there are any: streams on the descriptors that each will have, a
    clean environment, and no sign of what started it. Numbers are the same in every run, so that verdicts are."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "herd"]:
        del sys.modules[name]
    random.seed(0)
    sys.argv = ["program"]
    os.umask(0o077)
    os.environ.clear()
    os.environ.update(PATH="/usr/bin:/bin", LANG="C.UTF-8")
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        raw = io.FileIO(descriptor, mode, closefd=False)
        buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
        stream = io.TextIOWrapper(buffer, encoding="utf-8", errors="replace", line_buffering=name == "stderr")
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


_WARM_UP = """
from collections import Counter

class Shape:
    def __init__(self, sides): self.sides = sides
    @property
    def area(self): return sum(side * 0.5 for side in self.sides)

def f(words, table, *rest, start=0):
    found = sorted({word.lower(): len(word) for word in words}.items(), key=lambda pair: -pair[1])
    try:
        return [f"{name}:{table[name]}" for name, _ in found[start:]], Shape((1, 2)).area
    except KeyError:
        return {"counts": Counter("".join(words)).most_common(2), "none": None, "true": 1 < 2.5}
"""
_WARM_UP_RUNS = 20  # the interpreter adapts code that was run so often


def warm_up() -> None:
    """Runs a program of ours as those of others will be run: what the interpreter learns from it, all runs inherit."""
    request = json.dumps({"code": _WARM_UP, "function": "f", "inputs": [[["a", "Bc"], {"a": 1}], [["d"], {"d": 2}]]})
    for _ in range(_WARM_UP_RUNS):
        take_steps([(os.getpid, ()), (os.getuid, ())])
        row, _ = _SCAN(request, 0)
        _ENCODER.encode(run_calls(row["code"], row["function"], row["inputs"]))
    del sys.modules["program"]


def _module(name: str) -> dict[str, Any]:
    """The names of a new module, which is found by them, as dataclasses and pickle want."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    return module.__dict__


def name_folder(scratch: str) -> None:
    """The folder that the next runs find in their environment."""
    if os.environ.get("TMPDIR") != scratch:
        os.environ.update(HOME=scratch, TMPDIR=scratch)


def fault_in_words(fault: BaseException) -> str:
    """An exception in one short line, also one whose text is the program's."""
    try:
        return f"{type(fault).__name__}: {fault}"[:300]
    except BaseException:
        return "an exception that cannot be shown"


def run_calls(code: str, function: str, inputs: list[list[object]]) -> dict[str, object]:
    """What `function` of the code gives for every list of arguments, or why it gave nothing."""
    try:
        names = _module("program")
        exec(compile(code, "<program>", "exec"), names)  # noqa: S102 - what this file is for
        called = names.get(function)
        if called is None:
            return {"fault": f"there is no function {function}"}
        return {"values": [called(*arguments) for arguments in inputs]}
    except BaseException as fault:
        return {"fault": fault_in_words(fault)}


def _call(request: dict[str, Any]) -> None:
    outcome = run_calls(request["code"], request["function"], request["inputs"])
    try:
        text = _ENCODER.encode(outcome)
    except BaseException as fault:
        text = json.dumps({"fault": f"a value that is no plain data ({type(fault).__name__})"})
    _answer(text)


def write_files(files: Mapping[str, str]) -> None:
    """Writes files into the scratch folder, where this process is. Their names were judged by who asked."""
    for name, text in files.items():
        path = PurePosixPath(name)
        os.makedirs(path.parent, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)


def _program(request: dict[str, Any]) -> None:
    """A Python program with its standard streams, as `python FILE` runs it."""
    sys.argv = ["program.py", *request["arguments"]]
    os.close(ANSWER)
    code = 0
    try:
        write_files(request["files"])
        sys.path.insert(0, os.getcwd())
        names = _module("__main__")
        exec(compile(request["code"], "program.py", "exec"), names)  # noqa: S102 - what this file is for
        threading._shutdown()  # type: ignore[attr-defined]
    except SystemExit as fault:
        code = fault.code if isinstance(fault.code, int) else 0 if fault.code is None else 1
        if not isinstance(fault.code, int | None):
            print(fault.code, file=sys.stderr)
    except BaseException as fault:
        inner = fault.__traceback__.tb_next if fault.__traceback__ else None  # without this line
        traceback.print_exception(fault.with_traceback(inner))
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            code = code or 120  # as Python itself says it
    os._exit(code & 0xFF)


def _execute(request: dict[str, Any]) -> None:
    """Becomes another program: the files are written, then nothing of this one is left."""
    write_files(request["files"])
    environment = dict(os.environ) | request["environment"]
    command = [word.replace("{scratch}", os.getcwd()) for word in request["command"]]
    try:
        os.execve(command[0], command, environment)  # noqa: S606 - no shell is the point
    except OSError as fault:
        _answer(f"{command[0]}: {fault.strerror}")
        os._exit(127)


def _candidate(request: dict[str, Any]) -> None:
    os.close(ANSWER)
    serve_candidate(Connection(PEER_IN, PEER_OUT), request["code"], _module("candidate"))


def _tests(request: dict[str, Any]) -> None:
    connection = None if request["code"] is not None else Connection(PEER_IN, PEER_OUT)
    _answer(json.dumps(suites.run_suite(connection, request, _module("tests"))))


JOBS_BY_KIND: dict[str, Callable[[dict[str, Any]], None]] = {
    "call": _call,
    "program": _program,
    "execute": _execute,
    "candidate": _candidate,
    "tests": _tests,
}
