"""`herd threshold`: whether a task begins at a loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import run

HEADER = "task,flops,nll,accuracy,questions,chance\n"


def test_a_table_tells_where_a_task_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.csv"
    lines = [f"hidden,1e{20 + n},{3 - n / 10},{0.25 + 0.4 * max(0, (n - 8) / 10)},1000,0.25" for n in range(16)]
    file.write_text(HEADER + "\n".join(lines), encoding="utf-8")
    code, out, _ = run(capsys, "threshold", str(file))
    assert code == 0
    assert out.startswith("hidden: begins below 2.")
    _, row, _ = run(capsys, "threshold", str(file), "--json")
    assert json.loads(row)["hidden"]["threshold"]["loss"] == pytest.approx(2.2, abs=0.1)
    assert json.loads(row)["hidden"]["preferred"] is True


def test_what_is_no_table_is_told_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "threshold", str(tmp_path))
    assert code != 0
    assert "is no table and no run's folder" in err
    assert err.count("\n") == 1
