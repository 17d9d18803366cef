"""What benchmarks have in common: a command's processor seconds and memory, and the machine they were measured on."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Ran:
    """A command that ended. cpu_seconds: of it and its children together. peak_bytes: the most that one of these
    processes held."""

    cpu_seconds: float
    peak_bytes: int
    printed: str

    @property
    def peak_megabytes(self) -> int:
        return round(self.peak_bytes / 1e6)


def run(command: list[str], folder: Path) -> Ran:
    """Runs a command on one thread; `folder` takes what it prints. Ends the benchmark when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (folder / "printed").open("wb") as printed, (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=printed, stderr=said, env=os.environ | {"OMP_NUM_THREADS": "1"})
        peak, watched = 0, {process.pid}
        while process.poll() is None:
            watched |= _children(watched)
            peak = max(peak, *(_resident(pid) for pid in watched))
            time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:3])} failed: {(folder / 'said').read_text(errors='replace')[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(seconds, peak, (folder / "printed").read_text(encoding="utf-8"))


def _children(pids: set[int]) -> set[int]:
    found = set()
    for pid in pids:
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                found |= {int(child) for child in file.read_text().split()}
            except OSError:
                continue
    return found


def _resident(pid: int) -> int:
    """The most memory a process has held."""
    try:
        line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0
    return int(line.split()[1]) * 1024


def stand_ready(name: str, command: list[str], told: Mapping[str, str]) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Starts a program that waits for lines, and what it says in JSON when it is ready. Ends the benchmark when the
    program ends before."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=dict(told), text=True, bufsize=1, **pipes)
    for line in process.stdout or ():
        if line.startswith("{"):
            return process, json.loads(line)
    raise SystemExit(f"{name} ended with {process.wait()} before it was ready: {' '.join(command)}")


def ask(process: subprocess.Popen[str]) -> float:
    """The seconds that a program which stands ready takes for its work once more."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    return float(process.stdout.readline())


def tell(part: str, row: Mapping[str, Any]) -> None:
    """A part's result at once, for whoever waits."""
    print(part, json.dumps(row), file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """Processor, cores, system and commit, for the row of results."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    cpu = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": _git("rev-parse", "--short", "HEAD") or "unknown",
    }


def code() -> str:
    """The package's tree in git, the same at every commit that does not change it; `unknown` outside git, and where
    its files are not those of the commit."""
    return (not _git("status", "--porcelain", "herd") and _git("rev-parse", "--short", "HEAD:herd")) or "unknown"


def _git(*arguments: str) -> str:
    """What git says of the repository of this file; nothing outside one."""
    command = ["git", "-C", str(Path(__file__).parent.parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
