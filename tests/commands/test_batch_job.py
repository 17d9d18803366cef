"""--sbatch: the scripts that are written in the place of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from herd.core.recipe import load_recipe
from herd.recipes import recipes
from tests.commands.test_run import own_recipe
from tests.smoke import SMOKE
from tests.test_cli import run


def test_a_run_with_text_is_two_scripts_and_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, file = tmp_path / "run", tmp_path / "jobs" / "job.sbatch"
    words = ("--out", str(out), "--gpus", "2", "--sbatch", str(file), "--gpus-per-node", "2", "--save-every", "60")
    code, said, _ = run(capsys, "run", str(SMOKE), *words)
    assert code == 0
    text = (tmp_path / "jobs" / "job-text.sbatch").read_text()
    assert f"sbatch --dependency=afterok:$(sbatch --parsable {tmp_path / 'jobs' / 'job-text.sbatch'}) {file}" in said
    script = file.read_text()
    assert "--executor slurm" in script
    assert "--save-every 60.0" in script
    assert "#SBATCH --gpus-per-node=2\n#" in script
    assert "--until pack" in text
    assert "gpus-per-node" not in text
    assert not (out / "artifacts").exists()
    # What the script runs is what was planned, layouts and all.
    again = load_recipe(str(out / "recipe.yaml"), recipes)
    assert again.settings.base.layout.devices == 2
    assert str(out / "recipe.yaml") in script


def test_layouts_of_another_number_of_devices_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--out", str(tmp_path / "run"), "--gpus", "2", "--sbatch", str(tmp_path / "job"), "--nodes", "3")
    code, _, err = run(capsys, "run", str(SMOKE), *words)
    assert code == 2
    assert "is laid out over 2 devices and the job has 24; give --gpus 24" in err
    assert not (tmp_path / "job").exists()


def test_a_wiring_of_ones_own_is_found_from_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out, file = own_recipe(tmp_path, "batched"), tmp_path / "run", tmp_path / "job.sbatch"
    code, said, _ = run(capsys, "run", str(recipe), "--out", str(out), "--sbatch", str(file), "--hours", "2")
    assert code == 0
    assert f"  sbatch {file}" in said
    assert "#SBATCH --time=2:00:00\n" in file.read_text()
    written = load_recipe(str(out / "recipe.yaml"), recipes)
    assert written.plan().key == load_recipe(str(recipe), recipes).plan().key
