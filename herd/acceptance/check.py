"""Running the checks of rows, and what their outcomes make of each row.

A check is a test marked `row(number, "part")`. What a row *is* follows from its parts: it holds when every part was
run and holds; a slow part that was not run now counts by the record of an earlier run, if that run was of this code.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from herd.acceptance import record
from herd.acceptance.table import AcceptanceRow, table
from herd.core.errors import HerdError, SettingsError

State = Literal["holds", "does not hold", "part", "slow", "missing"]
PartState = Literal["holds", "does not hold", "slow", "not run", "missing"]
TESTS = Path(__file__).parent.parent.parent / "tests"
TestOutcome = Mapping[str, Any]  # of one test: row, part, test, outcome, figure, slow, seconds, seeds


@dataclass(frozen=True)
class PartResult:
    """One part of a row. figure: what was measured, in words, and where from if not now."""

    part: str
    criterion: str
    state: PartState
    figure: str


@dataclass(frozen=True)
class RowResult:
    """A row and how its checks went, part by part."""

    row: AcceptanceRow
    parts: tuple[PartResult, ...]

    @property
    def state(self) -> State:
        states = {part.state for part in self.parts}
        if "does not hold" in states:
            return "does not hold"
        if len(states) == 1 and (only := states.pop()) != "not run":
            return only  # type: ignore[return-value]
        return "part" if "holds" in states else "slow" if "slow" in states else "missing"


def check_acceptance(
    numbers: Sequence[int], *, slow: bool, keep: bool = False, say: Callable[[str], None] = print
) -> list[RowResult]:
    """Runs the checks of these rows (of all when none is given).

    keep: what slow checks measure is added to the record; say: gets a line as each slow check ends.
    Raises SettingsError for a number the table does not have, and HerdError where the tests are not at hand, or where
    something is to be recorded of code that no commit holds.
    """
    rows = [row for row in table() if not numbers or row.row in numbers]
    unknown = set(numbers) - {row.row for row in rows}
    if unknown:
        raise SettingsError(f"row {min(unknown)}: the table has rows 1 to {len(table())}")
    if not TESTS.is_dir():
        raise HerdError("the checks are tests, and this is an installed copy without them; run in a checkout")
    origin = record.origin(TESTS.parent) if keep else None
    outcomes: defaultdict[int, list[TestOutcome]] = defaultdict(list)
    for outcome in _measure([row.row for row in rows], slow=slow):
        outcomes[outcome["row"]].append(outcome)
        if outcome["slow"] and outcome["outcome"] != "skipped":
            say(f"row {outcome['row']} {outcome['part']}: {outcome['outcome']}, {outcome['figure'] or 'no figure'}")
            if origin is not None:
                record.add(TESTS.parent, outcome, origin)
    records = record.Record.read(TESTS.parent)
    return [judge_row(row, outcomes[row.row], records) for row in rows]


def files_with_checks(numbers: Collection[int]) -> list[Path]:
    """The test files that mark a check of one of these rows, read from their text: pytest would have to import all."""
    marks, wanted = re.compile(r"\bmark\.row\((\d+)"), set(numbers)
    return [
        file
        for file in sorted(TESTS.rglob("test_*.py"))
        if wanted.intersection(map(int, marks.findall(file.read_text(encoding="utf-8"))))
    ]


def _measure(numbers: list[int], *, slow: bool) -> Any:
    """Yields every check of these rows as it ends."""
    files = files_with_checks(numbers)
    if not files:
        return
    with tempfile.TemporaryDirectory() as scratch:
        out, log = Path(scratch) / "rows.jsonl", Path(scratch) / "log"
        command = [sys.executable, "-m", "pytest", *map(str, files), "-q", "-m", "row", f"--rows-json={out}"]
        command += [f"--rows={','.join(map(str, numbers))}", *(["--slow"] if slow else [])]
        out.touch()
        with log.open("w") as words, out.open(encoding="utf-8") as lines:
            process = subprocess.Popen(command, cwd=TESTS.parent, stdout=words, stderr=subprocess.STDOUT)
            try:
                while process.poll() is None:
                    time.sleep(0.2)
                    yield from map(json.loads, iter(lines.readline, ""))
            finally:
                process.kill()
                process.wait()
            yield from map(json.loads, iter(lines.readline, ""))
        # 0 and 1: the tests ran; 5: none was chosen. Anything else means that some could not even be read.
        if process.returncode not in (0, 1, 5):
            words = log.read_text(encoding="utf-8", errors="replace").strip()[-400:]
            raise HerdError(f"the checks could not be run: {words}")


def judge_row(row: AcceptanceRow, outcomes: Sequence[TestOutcome], records: record.Record) -> RowResult:
    """`row` and what these outcomes of its tests, and the record, make of its parts."""
    by_part: defaultdict[str, list[TestOutcome]] = defaultdict(list)
    for outcome in outcomes:
        by_part[outcome["part"]].append(outcome)
    parts = (_judge_part(part, criterion, by_part[part], records) for part, criterion in row.parts.items())
    return RowResult(row, tuple(parts))


def _judge_part(part: str, criterion: str, outcomes: Sequence[TestOutcome], records: record.Record) -> PartResult:
    if not outcomes:
        return PartResult(part, criterion, "missing", "")
    figures, states = [], set()
    for outcome in outcomes:
        state: PartState = {"passed": "holds", "failed": "does not hold"}.get(outcome["outcome"], "not run")  # type: ignore
        figure = outcome["figure"]
        if outcome["outcome"] == "skipped" and outcome["slow"]:
            state, figure = records.of(outcome["test"])
        states.add(state)
        figures += [figure] * bool(figure)
    worst: Sequence[PartState] = ("does not hold", "slow", "not run", "holds")
    return PartResult(
        part, criterion, next(state for state in worst if state in states), "; ".join(dict.fromkeys(figures))
    )


def format_text(results: Sequence[RowResult]) -> str:
    """Number, state and system, a line each, their parts below them, and how many rows of each state."""
    lines = []
    for result in results:
        lines.append(f"{result.row.row:3} {result.state:14} {result.row.system}")
        for part in result.parts:
            lines.append(f"      {part.state:14} {part.part}: {part.figure or '-'}  (bar: {part.criterion})")
    states = [result.state for result in results]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return "\n".join([*lines, counts])


def format_json(results: Sequence[RowResult]) -> str:
    rows = []
    for result in results:
        fields = asdict(result)
        rows.append({**fields["row"], "state": result.state, "parts": fields["parts"]})
    return json.dumps(rows, indent=1)
