"""`herd metrics`: which metric of a task follows compute best."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.test_cli import run


def test_a_table_of_choices_tells_how_metrics_follow_compute(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "choices.csv"
    lines = ["task,flops,question,choice,log_p,right"]
    for n in range(4):
        lines += [f"sums,1e{18 + n},first,{c},{-5 + n if c else -4},{c}" for c in (0, 1)]
    file.write_text("\n".join([*lines, "few,1e18,q,a,-1,1", "few,1e18,q,b,-2,0"]), encoding="utf-8")
    code, out, _ = run(capsys, "metrics", str(file))
    assert code == 0
    assert "sums: rank correlation with compute over 4 models, mean of 1 questions" in out
    assert "log_p       +1.000" in out
    assert "few: nothing can be said, 1 models have no rank correlation" in out
    _, row, _ = run(capsys, "metrics", str(file), "--json")
    assert json.loads(row)["sums"]["log_p"] == pytest.approx(1.0)


def test_a_table_without_choices_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.csv").write_text("task,flops\n", encoding="utf-8")
    code, _, err = run(capsys, "metrics", str(tmp_path / "x.csv"))
    assert code != 0
    assert "no column question" in err
