"""What slow checks measured, kept in the repository with the code, machine, seeds and date of each.

A figure counts for the code it was measured on only: a line holds a hash of the test, of every file of herd that the
test imports, itself or through others, and of all numbers of recipes and studies.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from herd.core.errors import HerdError
from herd.core.fingerprint import fingerprint

RECORD_FILE = Path("benchmarks") / "results" / "acceptance.jsonl"


def origin(checkout: Path) -> dict[str, str]:
    """Commit, machine and date of what is measured now. Raises HerdError when herd or tests are not as committed."""
    changed = _git(checkout, "status", "--porcelain", "--", "herd", "tests", "pyproject.toml")
    if changed:
        raise HerdError(f"a figure is recorded with the commit that it is of; commit {changed.split()[-1]} first")
    machine = f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"commit": _git(checkout, "rev-parse", "--short=12", "HEAD"), "machine": machine, "date": today}


def _git(checkout: Path, *words: str) -> str:
    process = subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True, check=False)  # noqa: S607
    if process.returncode:
        raise HerdError(f"a figure is recorded with its commit, and git says: {process.stderr.strip()}; run in a clone")
    return process.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())


def add(checkout: Path, outcome: Mapping[str, Any], where: Mapping[str, str]) -> None:
    """Adds one slow check to the record."""
    line = {
        **{name: outcome[name] for name in ("row", "part", "test", "outcome", "figure", "seconds", "seeds")},
        **where,
        "code": code_of(checkout, outcome["test"]),
    }
    with (checkout / RECORD_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def code_of(checkout: Path, test: str) -> str:
    """A hash of the code that decides how this test ends. test: as pytest names it, `tests/x/test_y.py::test_z`."""
    return _code_of_file(checkout, checkout / test.partition("::")[0])


@cache
def _code_of_file(checkout: Path, file: Path) -> str:
    if not file.exists():
        return ""
    prints = {fingerprint(member.stem, member) for member in _with_helpers(checkout, file)}
    if any(b'"herd"' in member.read_bytes() for member in _with_helpers(checkout, file)):
        # It runs the program as a command, so all that the program may import decides.
        prints.add(fingerprint("herd.__main__", checkout / "herd" / "__main__.py"))
    return hashlib.sha256("".join((*sorted(prints), _numbers(checkout))).encode()).hexdigest()[:12]


def _with_helpers(checkout: Path, file: Path) -> set[Path]:
    """A test's file and those of the tests' own modules that it imports, itself or through others."""
    files, waiting = set[Path](), [file]
    while waiting:
        member = waiting.pop()
        if member in files or not member.exists():
            continue
        files.add(member)
        names = re.findall(r"^\s*from tests\.([\w.]+) import", member.read_text(encoding="utf-8"), re.MULTILINE)
        waiting += [(checkout / "tests").joinpath(*name.split(".")).with_suffix(".py") for name in names]
    return files


@cache
def _numbers(checkout: Path) -> str:
    """A hash of the numbers of recipes, studies and rules, and of templates: all of herd that is no code."""
    package = checkout / "herd"
    files = sorted([*package.rglob("*.yaml"), *package.rglob("*.html")])
    relevant = (file for file in files if file.parent.name != "acceptance")
    return hashlib.sha256(b"".join(file.read_bytes() for file in relevant)).hexdigest()


@dataclass(frozen=True)
class Record:
    """The last line of every slow check, by the test's name."""

    checkout: Path
    lines: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, checkout: Path) -> Record:
        """What was recorded; nothing where there is no record. Raises HerdError for a line that is none."""
        lines: dict[str, Mapping[str, Any]] = {}
        file = checkout / RECORD_FILE
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                entry = json.loads(line)
                lines[entry["test"]] = entry
            except (ValueError, KeyError, TypeError):
                raise HerdError(f"{RECORD_FILE}, line {number}: no record of a check; take the line out") from None
        return cls(checkout, lines)

    def of(self, test: str) -> tuple[Any, str]:
        """State and figure of a slow check that was not run now; one of other code is `slow`, with its age."""
        line = self.lines.get(test)
        if line is None:
            return "slow", "never recorded: run with --slow --record"
        days = (datetime.datetime.now(datetime.UTC).date() - datetime.date.fromisoformat(line["date"])).days
        age = "today" if days == 0 else "1 day ago" if days == 1 else f"{days} days ago"
        summary = f"{line['figure'] or line['outcome']} [recorded {age} at {line['commit']}"
        if line["code"] != code_of(self.checkout, test):
            return "slow", f"{summary}, of other code: run again with --slow --record]"
        return ("holds" if line["outcome"] == "passed" else "does not hold"), f"{summary}]"
