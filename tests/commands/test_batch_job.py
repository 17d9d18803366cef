"""--sbatch: the scripts that are written in the place of a run."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import pytest

import herd
from herd.commands.batch_job import _HANDED_ON, _handed_on
from herd.commands.run import add_run_options
from herd.core.recipe import load_recipe
from herd.core.settings import write_yaml
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


def test_the_script_runs_the_herd_that_wrote_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--out", str(tmp_path / "run"), "--sbatch", str(tmp_path / "job"), "--gpus-per-node", "1")
    root = Path(herd.__file__).parent.parent
    for folder, start in ((tmp_path, " -P -m herd run "), (root, " -m herd run ")):  # -P: not a checkout's that is here
        monkeypatch.chdir(folder)
        assert run(capsys, "run", str(SMOKE.resolve()), *words)[0] == 0
        assert f"{sys.executable}{start}" in (tmp_path / "job").read_text()


def test_layouts_of_more_devices_than_the_job_has_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--out", str(tmp_path / "run"), "--gpus", "2", "--sbatch", str(tmp_path / "job"), "--gpus-per-node", "1")
    code, _, err = run(capsys, "run", str(SMOKE), *words)
    assert code == 2
    assert "is laid out over 2 devices and the job has 1; give --gpus 1" in err
    assert not (tmp_path / "job").exists()


def test_data_that_are_only_declared_are_told_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--out", str(tmp_path / "run"), "--sbatch", str(tmp_path / "job"), "--nodes", "128")
    code, _, err = run(capsys, "run", "llama3-8b", *words)
    assert code == 2
    assert "files.general" in err
    assert "alignment.rounds" in err
    assert "only declared" in err
    assert not list(tmp_path.iterdir())


def test_a_preset_whose_stages_want_different_numbers_of_devices_is_one_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("Some text.")
    (tmp_path / "p.jsonl").write_text('{"prompt": "Is it?", "chosen": "Yes.", "rejected": "No."}\n' * 4)
    (tmp_path / "d.jsonl").write_text('{"prompt": "Say it.", "response": "It."}\n' * 4)
    sources = ("general", "math", "code", "multilingual")
    rounds = [{"preferences": [str(tmp_path / "p.jsonl")], "dialogues": {"general": [str(tmp_path / "d.jsonl")]}}]
    row = {
        "recipe": "llama3-8b",
        "files": {source: [str(tmp_path / "text.txt")] for source in sources},
        "tokenizer": {"file": "", "extra": None},
        "alignment": {"rounds": rounds, "num_rounds": 1},
    }
    mine, file = tmp_path / "mine.yaml", tmp_path / "job.sbatch"
    mine.write_text(write_yaml(row))
    words = ("--out", str(tmp_path / "run"), "--sbatch", str(file), "--nodes", "128", "--hours", "24")
    code, said, err = run(capsys, "run", str(mine), *words)
    assert code == 0, err
    assert "#SBATCH --nodes=128\n" in file.read_text()
    assert "of 1,024 devices some stages use fewer, and the others wait meanwhile: " in said
    assert "train_reward 8" in said


def test_a_wiring_of_ones_own_is_found_from_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, out, file = own_recipe(tmp_path, "batched"), tmp_path / "run", tmp_path / "job.sbatch"
    code, said, _ = run(capsys, "run", str(recipe), "--out", str(out), "--sbatch", str(file), "--hours", "2")
    assert code == 0
    assert f"  sbatch {file}" in said
    assert "#SBATCH --time=2:00:00\n" in file.read_text()
    written = load_recipe(str(out / "recipe.yaml"), recipes)
    assert written.plan().key == load_recipe(str(recipe), recipes).plan().key


def test_every_option_of_a_run_is_handed_on() -> None:
    parser = argparse.ArgumentParser()
    add_run_options(parser)
    usual = vars(parser.parse_args([]))
    # The script says these itself.
    assert {name: usual[name] for name in _HANDED_ON} == _HANDED_ON
    assert usual.keys() - _HANDED_ON.keys() == {"jobs", "executor", "log"}
    words = ["--profile", "10:3", "--max-restarts", "7", "--device", "cuda", "--log", "wandb"]
    assert _handed_on(parser.parse_args(words)) == words
    assert not _handed_on(parser.parse_args([]))


def test_another_recipe_in_the_folder_is_kept_and_the_command_is_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out, file = own_recipe(tmp_path, "kept"), tmp_path / "run", tmp_path / "my jobs" / "a; b.sbatch"
    words = ("run", str(recipe), "--out", str(out), "--sbatch", str(file), "--hours", "2")
    code, said, _ = run(capsys, *words)
    assert code == 0
    assert f"  sbatch {shlex.quote(str(file))}" in said
    written = (out / "recipe.yaml").read_text()
    run(capsys, *words)
    assert [path.name for path in out.glob("recipe*")] == ["recipe.yaml"]
    (out / "recipe.yaml").write_text("recipe: tiny\nseed: 9\n")
    code, said, _ = run(capsys, *words)
    assert (code, (out / "recipe.1.yaml").read_text()) == (0, "recipe: tiny\nseed: 9\n")
    assert (out / "recipe.yaml").read_text() == written
    assert f"the recipe of before is {out / 'recipe.1.yaml'}" in said


def test_a_job_of_which_nobody_knows_how_long_it_takes_has_a_day_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "run", tmp_path / "job.sbatch"
    words = ("run", str(SMOKE), "--out", str(out), "--sbatch", str(file), "--gpus-per-node", "1")
    code, said, err = run(capsys, *words)
    assert code == 0, err
    script, text = file.read_text(), (tmp_path / "job-text.sbatch").read_text()
    for job in (script, text):
        assert "#SBATCH --time=24:00:00\n" in job
    assert "24.0 h at a time" in said
    note = next(line for line in script.splitlines() if line.startswith("# 24 h at a time, as nothing says how long"))
    assert "sft" in note
    assert (
        "evaluate_model" in note
    )  # of models that are so small that no more than the least is known of their training
    assert "# 24 h at a time, as nothing says how long the text will take" in text
    assert run(capsys, *words, "--hours", "3")[0] == 0
    for job in (file, tmp_path / "job-text.sbatch"):
        assert "#SBATCH --time=3:00:00\n" in job.read_text()
        assert "nothing says" not in job.read_text()
