"""`herd plan`: what a run would make, and nothing made."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.commands.test_run import own_recipe
from tests.smoke import SMOKE
from tests.test_cli import run


def test_plan_lists_stages_and_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "plan", "tiny", "--out", str(tmp_path / "run"))
    assert code == 0
    assert re.search(r"to do  write_report +write_report-\w+ +Report", out)
    assert re.search(r"to do  base \(anneal\) +anneal-\w+ +Checkpoint", out)
    assert not (tmp_path / "run").exists()


def test_plan_as_yaml_is_a_recipe_with_the_same_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, before, _ = run(capsys, "plan", "tiny", "--out", str(tmp_path))
    _, text, _ = run(capsys, "plan", "tiny", "--yaml", "--out", str(tmp_path))
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    _, after, _ = run(capsys, "plan", str(mine), "--out", str(tmp_path))
    assert before.splitlines()[:-1] == after.splitlines()[:-1]


def test_what_is_made_already_is_told_and_until_names_a_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = own_recipe(tmp_path, "planned"), tmp_path / "run"
    command = ("plan", str(recipe), "--out", str(out))
    lines = run(capsys, *command)[1].splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [["to", "do"]] * 3
    assert lines[-1].startswith(f"3 stages in {out}; `herd plan {recipe} --yaml`")
    assert run(capsys, "run", str(recipe), "--out", str(out), "--jobs", "0", "--until", "planned_write")[0] == 0
    lines = run(capsys, *command)[1].splitlines()
    made = {line.split()[-1] if line.startswith("made") else "to do" for line in lines[:-1]}
    assert sum(line.startswith("made") for line in lines) == 2
    assert "to do" in made
    (last,) = [line for line in lines if line.startswith("to do")]
    assert last.split()[2] == "planned_join"
    assert last.split()[3].startswith("planned_join-")
    assert last.split()[4:] == ["Tokens", "planned_write"]  # what it makes, and of what
    code, said, _ = run(capsys, *command, "--until", "planned_write")
    assert (code, len(said.splitlines())) == (0, 3)


def test_devices_choose_layouts_that_a_recipe_then_has_and_budget_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plan", str(SMOKE), "--out", str(tmp_path), "--gpus", "2", "--mfu", "0.3", "--price", "4")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert "base.layout={tensor: " in out
    assert "2 devices (" in out
    code, out, _ = run(capsys, *words, "--json")
    row = json.loads(out)
    assert row["machine"]["price_per_hour"] == 4
    base = next(training for training in row["trainings"] if training["devices"] == 2)
    assert base["utilization"] == pytest.approx(0.3)
    assert base["money"] == pytest.approx(4 * base["device_hours"])
    _, text, _ = run(capsys, *words, "--yaml")
    (tmp_path / "two.yaml").write_text(text)
    _, again, _ = run(capsys, "plan", str(tmp_path / "two.yaml"), "--out", str(tmp_path), "--json", "--mfu", "0.3")
    assert json.loads(again)["trainings"][0]["key"] == row["trainings"][0]["key"]
    code, _, err = run(capsys, "plan", str(SMOKE), "--law", str(tmp_path / "none"))
    assert code in (1, 2)
    assert "holds no law.json" in err
