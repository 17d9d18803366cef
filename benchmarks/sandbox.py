"""The sandbox: runs a second and core, what many runs leave behind, and whether verdicts hang on the machine's load.

Prints one JSON line. Speed is in runs per second of processor time, the parent's, the fork server's and the runs' own
together, with a process of Python's own for each run beside it. `--rounds 3` sets calls beside bare forks of the same
process, the least that a run can cost, and with `--prototype FOLDER` beside another fork server. `--soak 20000` counts
processes, descriptors and files before and after. `--repeats 10 --load 8` asks for the verdicts of published solutions
and of broken ones as often, with so many busy processes a core; `--data` is a folder with `humaneval` and `mbpp`.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from measuring import machine, tell

sys.path.insert(0, str(Path(__file__).parent.parent))

from herd.sandbox.launcher import _prefix, _scratch_place
from herd.sandbox.limits import Limits, Program
from herd.sandbox.server import SandboxServer

ROOT = Path(__file__).parent.parent
CODE = """
def closest(numbers):
    best = None
    for i, first in enumerate(numbers):
        for second in numbers[i + 1:]:
            if best is None or abs(first - second) < best[0]:
                best = (abs(first - second), first, second)
    return best
"""
CHECK = """
def check(candidate):
    assert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2])[1:] == (3.9, 4.0)
    assert candidate([7]) is None
    assert candidate([1, 1])[0] == 0
"""
ANSWERS = [[0.10000000000000009, 3.9, 4.0], None, [0, 1, 1]]
INPUTS = [[[1.0, 2.0, 3.9, 4.0, 5.0, 2.2]], [[7]], [[1, 1]]]
KINDS: dict[str, Callable[[SandboxServer], bool]] = {
    "call": lambda server: server.call(CODE, "closest", INPUTS).values == ANSWERS,
    "tests": lambda server: server.run_tests(CODE, CHECK, style="check", entry_point="closest").passed is True,
    "program": lambda server: server.run_program(Program(CODE + "print(closest([1, 3, 4]))")).exit_code == 0,
}


def cpu_seconds() -> float:
    """Of this process and of all below it that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def cost(runs: int, run: Callable[[SandboxServer], bool]) -> tuple[float, float]:
    """Processor seconds and seconds of so many runs, with a server's start and end."""
    before, began = cpu_seconds(), time.monotonic()
    with SandboxServer() as server:
        for _ in range(runs):
            assert run(server)
    return cpu_seconds() - before, time.monotonic() - began


FORKS = """
import os, sys
register = os.register_at_fork
os.register_at_fork = lambda **_: None
from herd.sandbox import preload
preload.load_modules()
import herd.sandbox.forkserver, gc
gc.collect(); gc.disable(); gc.freeze()
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
"""


def forks(count: int) -> float:
    """Per processor second: forks of what the fork server is, that end at once and do nothing."""

    def seconds(number: int) -> float:
        before = cpu_seconds()
        subprocess.run([sys.executable, "-s", "-S", "-c", FORKS, str(number)], cwd=ROOT, check=True)
        return cpu_seconds() - before

    start = seconds(0)
    return count / (seconds(count) - start)


def prototype_calls(folder: Path, count: int) -> float:
    """Per processor second: the same calls by the fork server in a folder, which reads and writes lines of JSON."""

    def seconds(number: int) -> float:
        before = cpu_seconds()
        with tempfile.TemporaryDirectory() as scratch:
            os.chmod(scratch, 0o777)
            lines = [json.dumps({"code": CODE, "entry": "closest", "calls": INPUTS, "scratch": scratch})] * number
            command = [
                sys.executable,
                "-S",
                str(folder / "forkserver.py"),
                "ls",
                *(["65520"] if os.geteuid() == 0 else []),
            ]
            ran = subprocess.run(
                command, input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, check=True
            )
        answers = [json.loads(json.loads(line)["out"])["r"] for line in ran.stdout.splitlines()]
        assert len(answers) == number
        assert all(answer == ANSWERS for answer in answers), "the prototype gives other values"
        return cpu_seconds() - before

    start = seconds(0)
    return count / (seconds(count) - start)


def rounds(runs: int, times: int, prototype: Path | None) -> list[dict[str, float]]:
    """The same measured one after another, so often, since the machine's other work changes what a second is worth."""
    found = []
    for _ in range(times):
        start = cost(0, KINDS["call"])[0]
        row = {"call": runs / (cost(runs, KINDS["call"])[0] - start), "fork": forks(runs)}
        if prototype is not None:
            row["prototype"] = prototype_calls(prototype, runs)
        found.append({name: round(value, 1) for name, value in row.items()})
        tell("round", found[-1])
    return found


def speed(runs: int) -> dict[str, Any]:
    start = cost(0, KINDS["call"])
    row: dict[str, Any] = {"start_cpu_seconds": round(start[0], 3)}
    for name, run in KINDS.items():
        cpu, wall = cost(runs, run)
        row[f"{name}_per_cpu_second"] = round(runs / (cpu - start[0]), 1)
        row[f"{name}_per_second"] = round(runs / (wall - start[1]), 1)
    before, count = cpu_seconds(), max(5, runs // 20)
    for _ in range(count):
        command = [sys.executable, "-I", "-S", "-c", CODE + "print(closest([1, 3, 4]))"]
        subprocess.run(command, capture_output=True, check=True)
    row["new_interpreter_per_cpu_second"] = round(count / (cpu_seconds() - before), 1)
    row["times_a_new_interpreter"] = round(row["call_per_cpu_second"] / row["new_interpreter_per_cpu_second"], 2)
    return row


def traces() -> dict[str, int]:
    """Processes below this one, its descriptors, and files of sandboxes."""
    own = Path(f"/proc/{os.getpid()}")
    count, queue = 0, [os.getpid()]
    while queue:
        for file in Path(f"/proc/{queue.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(word) for word in file.read_text().split()]
                count += len(children)
                queue += children
    place = Path(_scratch_place() or "/tmp")
    files = sum(len(list(folder.rglob("*"))) for folder in place.glob(f"{_prefix()}{os.getpid()}-*"))
    segments = len(Path("/proc/sysvipc/shm").read_text().splitlines())
    return {"processes": count, "descriptors": len(list((own / "fd").iterdir())), "files": files, "segments": segments}


MESSES = [
    "def f(): return 1",
    "def f():\n    for n in range(20): open(str(n), 'w').write('x' * 1000)\n    return 1",
    "import os\ndef f():\n    os.makedirs('a/b/c'); os._exit(3)",
    "import threading as t, time\ndef f():\n    t.Thread(target=time.sleep, args=(9,), daemon=True).start()",
    "def f(): return bytearray(1 << 40)",
    "import os\ndef f(): os.fork()",
    "import socket\ndef f(): return len(socket.socketpair())",
]


def soak(runs: int) -> dict[str, Any]:
    with SandboxServer() as server:
        for code in MESSES:
            server.call(code, "f", [[]])
        before, void = traces(), 0
        for number in range(runs):
            if number % 10 == 9:
                void += server.run_tests("def f(): return 1", "assert f() == 1", style="asserts").passed is not True
            else:
                void += server.call(MESSES[number % len(MESSES)], "f", [[]]).void
            if number % 1000 == 999:
                tell("soak", {"runs": number + 1, **traces()})
        after = traces()
    return {"runs": runs, "before": before, "after": after, "same": before == after, "void": void,
            "left": traces()["files"]}  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    with gzip.open(next(folder.glob("*.jsonl.gz")), "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def problems(data: Path) -> list[tuple[str, str, str, str, str, bool]]:
    """Name, program, tests, style, function and whether it is right: published solutions, and the same broken."""
    found = []
    for row in rows(data / "humaneval"):
        for right, body in ((True, row["canonical_solution"]), (False, "    return None\n")):
            found.append((row["task_id"], row["prompt"] + body, row["test"], "check", row["entry_point"], right))
    for row in rows(data / "mbpp"):
        tests = "\n".join([row["test_setup_code"] or "", *row["test_list"]])
        found.append((f"MBPP/{row['task_id']}", row["code"], tests, "asserts", "", True))
    return found


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def repeats(data: Path, times: int, load: int, limit: int) -> dict[str, Any]:
    chosen = problems(data)[:limit]
    verdicts: dict[tuple[str, bool], set[bool | None]] = {}
    with busy(load * (os.cpu_count() or 1)), SandboxServer() as server:
        for number in range(times):
            for name, code, tests, style, function, right in chosen:
                verdict = server.run_tests(code, tests, style=style, entry_point=function, limits=Limits())  # type: ignore[arg-type]
                verdicts.setdefault((name, right), set()).add(verdict.passed)
            tell("repeat", {"number": number + 1})
    counts = Counter(str(one) for row in verdicts.values() for one in row)
    return {
        "programs": len(chosen),
        "repeats": times,
        "busy_processes_a_core": load,
        "changed": sorted(name for (name, _), row in verdicts.items() if len(row) > 1),
        "not_as_published": sorted(name for (name, right), row in verdicts.items() if row != {right}),
        "verdicts": dict(counts),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500, help="for speed; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=0, help="of calls beside bare forks, for --runs each")
    parser.add_argument("--prototype", type=Path, help="a folder with another fork server, measured in each round")
    parser.add_argument("--soak", type=int, default=0, help="runs")
    parser.add_argument("--repeats", type=int, default=0)
    parser.add_argument("--load", type=int, default=8, help="busy processes a core, with --repeats")
    parser.add_argument("--limit", type=int, default=10**6, help="programs, with --repeats")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "sandbox", **machine(), "load_average": os.getloadavg()[0]}
    with SandboxServer() as first:
        result["walls"] = str(first.walls)
    if options.runs:
        result["speed"] = speed(options.runs)
    if options.rounds:
        result["per_cpu_second"] = rounds(options.runs, options.rounds, options.prototype)
    if options.soak:
        result["soak"] = soak(options.soak)
    if options.repeats:
        result["repeats"] = repeats(options.data, options.repeats, options.load, options.limit)
    print(json.dumps(result))
