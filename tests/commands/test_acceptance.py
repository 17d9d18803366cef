"""`herd acceptance`: the table checked, and an exit code that says whether it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herd import acceptance
from herd.acceptance.check import PartResult, RowResult
from herd.acceptance.table import AcceptanceRow
from herd.cli import main


def checked(state: str) -> RowResult:
    row = AcceptanceRow(90, "a system", "3.2", {"quick": "a bar"})
    return RowResult(row, (PartResult("quick", "a bar", state, "0.4"),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("states", "code"),
    [(["holds"], 0), (["missing", "slow", "not run"], 0), (["holds", "does not hold"], 1)],
)
def test_a_bar_that_is_missed_is_a_failure(
    states: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def check(numbers, *, slow, keep, say):
        asked.append((list(numbers), slow, keep))
        say("row 90 quick: passed, 0.4")
        return [checked(state) for state in states]

    monkeypatch.setattr(acceptance, "check_acceptance", check)
    assert main(["acceptance", "--row", "3", "--row", "90", "--json"]) == code
    out, err = capsys.readouterr()
    assert [row["state"] for row in json.loads(out)] == [entry.state for entry in map(checked, states)]
    assert err == "row 90 quick: passed, 0.4\n"  # apart from what is printed for others to read
    assert main(["acceptance", "--record"]) == code
    assert asked == [([3, 90], False, False), ([], True, True)]


def test_the_page_is_printed_as_it_lies_in_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acceptance", "--markdown"]) == 0
    assert capsys.readouterr().out == (Path(__file__).parents[2] / "docs" / "recipe.md").read_text(encoding="utf-8")
