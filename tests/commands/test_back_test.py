"""`herd back-test`: whether the smaller models foretell the largest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scaling.test_downstream import HEADER, family
from tests.test_cli import run


def test_the_largest_model_of_a_table_is_foretold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results.csv"
    lines = [
        f"sums,{run.flops},{run.nll},{run.accuracy},{run.questions},0.25,{int(run.best_size)}" for run in family(0)
    ]
    file.write_text(HEADER.strip() + ",best_size\n" + "\n".join([*lines, "few,1e18,1,0.5,10,0,1"]), encoding="utf-8")
    code, out, _ = run(capsys, "back-test", str(file))
    assert code == 0
    assert "right predicted at 3.8e+25 FLOPs" in out
    assert "few: no back-test, " in out
    _, row, _ = run(capsys, "back-test", str(file), "--json")
    found = json.loads(row)
    low, high = found["sums"]["interval"]
    assert low < found["sums"]["predicted"] < high
    assert found["sums"]["inside"] is (low <= found["sums"]["measured"] <= high)
    assert f"{'inside' if found['sums']['inside'] else 'outside'} the interval" in out


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "back-test", str(tmp_path / "none.csv"))
    assert code != 0
    assert "is no table and no run's folder" in err
