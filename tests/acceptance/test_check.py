"""What outcomes of tests make of the rows that they check."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from herd import acceptance
from herd.acceptance.check import TESTS, files_with_checks, judge_row
from herd.acceptance.record import Record, code_of
from herd.acceptance.table import AcceptanceRow
from herd.core.errors import SettingsError


def test_a_row_without_a_check_is_missing_and_one_with_a_check_tells_its_figure() -> None:
    checked = {entry.row.row: entry for entry in acceptance.check_acceptance([29, 16], slow=False)}
    assert {number: entry.state for number, entry in checked.items()} == {16: "missing", 29: "holds"}
    assert any("1.8165" in part.figure for part in checked[29].parts)
    with pytest.raises(SettingsError, match="rows 1 to 80"):
        acceptance.check_acceptance([81], slow=False)


def test_the_files_with_checks_of_a_row_are_found_by_their_text() -> None:
    assert files_with_checks([16]) == []
    assert files_with_checks([29]) == [TESTS / "scaling" / name for name in ("test_laws.py", "test_parametric.py")]
    marks = re.compile(r"\bmark\W*row\b")
    marked = {file: text for file in sorted(TESTS.rglob("*.py")) if marks.search(text := file.read_text("utf-8"))}
    assert files_with_checks(range(1, 81)) == list(marked)
    # Written otherwise, as with a row that only a variable tells, a check would never be run.
    other = re.compile(r"\bmark\W*row\b(?!\(\d+[,)])")
    assert [file for file, text in marked.items() if other.search(text)] == []


ROW = AcceptanceRow(90, "a system", "3.2", {"quick": "a bar", "long": "another bar"})


def outcome(part: str, outcome: str, *, slow: bool = False) -> dict[str, object]:
    test = f"tests/test_rows.py::{part}"
    return {"row": 90, "part": part, "test": test, "outcome": outcome, "figure": "0.4", "slow": slow}


def recorded(tmp_path: Path, *, outcome: str = "passed", code: str = "") -> Record:
    line = {"test": "tests/test_rows.py::long", "outcome": outcome, "figure": ".9", "commit": "abc", "code": code}
    return Record(tmp_path, {line["test"]: line | {"date": "2026-01-02"}})


NOTHING = Record(Path(), {})


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ([], "missing"),
        ([outcome("quick", "passed")], "part"),
        ([outcome("quick", "passed"), outcome("long", "passed", slow=True)], "holds"),
        ([outcome("quick", "passed"), outcome("long", "skipped", slow=True)], "part"),
        ([outcome("quick", "passed"), outcome("quick", "failed"), outcome("long", "passed")], "does not hold"),
        ([outcome("long", "skipped", slow=True)], "slow"),
        ([outcome("quick", "passed"), outcome("quick", "skipped"), outcome("long", "passed")], "part"),
    ],
)
def test_a_row_holds_only_when_every_part_was_run_and_holds(outcomes: list[dict[str, object]], state: str) -> None:
    assert judge_row(ROW, outcomes, NOTHING).state == state


def test_a_slow_part_counts_by_a_record_of_this_code_and_of_no_other(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_rows.py").write_text("import herd.core.errors\n")
    outcomes = [outcome("quick", "passed"), outcome("long", "skipped", slow=True)]
    code = code_of(tmp_path, "tests/test_rows.py::long")
    assert judge_row(ROW, outcomes, recorded(tmp_path, code=code)).state == "holds"
    assert judge_row(ROW, outcomes, recorded(tmp_path, code=code, outcome="failed")).state == "does not hold"
    stale = judge_row(ROW, outcomes, recorded(tmp_path, code="of before"))
    assert stale.state == "part"
    assert "other code" in stale.parts[1].figure
    assert "at abc" in stale.parts[1].figure
