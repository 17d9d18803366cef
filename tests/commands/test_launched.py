"""Commands under torchrun and Slurm: the first process reads, plans, tells and writes, the others are its ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from herd.cli import main
from herd.core.settings import read_yaml
from herd.run import launcher
from tests.commands.test_finetuning import own as own
from tests.smoke import SMOKE

TEXT = "pages.txt"
COMMANDS = {
    "runs/tiny": ["run", "tiny"],
    "runs/tiny-scale-0.01": ["run", "tiny", "--scale", "0.01"],
    "there": ["study", "alignment", "--out", "there"],
    "runs/4m-pages": ["pretrain", TEXT, "--size", "4m"],
    "runs/smol-pages": ["pretrain", TEXT, "--from", "smol"],
    "runs/sft-smol": ["sft", "smol", "rows.jsonl"],
    "runs/dpo-smol": ["dpo", "smol", "pairs.jsonl"],
    "runs/reward-smol": ["reward", "smol", "pairs.jsonl"],
    "crawl": ["curate", TEXT, "--out", "crawl"],
}


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """This process is the second of two that torchrun started; where it meets the first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / TEXT).write_text("The farmer went home. " * 200)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    folders: list[Path] = []
    monkeypatch.setattr(launcher, "work_for_leader", lambda folder, timeout: folders.append(folder))
    return folders


@pytest.mark.parametrize("folder", COMMANDS)
def test_a_rank_above_the_first_meets_it_and_reads_plans_prints_and_writes_nothing(
    folder: str, second: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("herd.core.recipe.recipe_from", "herd.core.file_hashes.file_hashes", "herd.corpus.sources.scan_files"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("a rank that is not the first plans"))
    before = sorted(tmp_path.rglob("*"))
    assert main(COMMANDS[folder]) == 0
    assert second == [Path(folder)]
    assert capfd.readouterr() == ("", "")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("words", [["--dry-run"], ["--sbatch", "job.sbatch"]])
@pytest.mark.parametrize("folder", ["runs/tiny", "runs/4m-pages", "runs/sft-smol"])
def test_what_is_only_shown_is_shown_once(
    folder: str, words: list[str], second: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMANDS[folder], *words]) == 0
    assert main(["plan", "tiny"]) == 0
    assert second == []
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == [TEXT]


def test_an_executor_by_which_each_process_runs_for_itself_is_refused(
    second: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("recipe: tiny\nexecutor: ray\n")
    for words in (["run", "tiny", "--executor", "local"], ["run", str(mine)]):
        assert main(words) == 2
        assert "torchrun started 2 processes, and with the executor" in capfd.readouterr().err
    assert main(["plan", str(mine)]) == 0  # which runs nothing
    mine.write_text("recipe: tiny\nexecutor: slurm\n")
    assert main(["run", str(mine), "--out", "there"]) == 0
    assert second == [Path("there")]


def test_tasks_of_slurm_are_ranks_where_the_command_says_so(
    second: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name)
    for name, value in {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    assert main(["run", "tiny", "--executor", "slurm"]) == 0
    assert second == [Path("runs/tiny")]
    # Else each does what it was told, as in a loop over files.
    assert main(["run", str(SMOKE), "--dry-run"]) == 0
    assert "to do" in capfd.readouterr().out
    assert len(second) == 1


def test_a_job_under_torchrun_is_one_run_of_two_ranks(own: Path) -> None:
    command = ["sft", "smol", "rows.jsonl", "--steps", "2", "--length", "64", "--gpus", "2", "--until", "sft"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29519"]
    env = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    done = subprocess.run(
        [*torchrun, "-m", "herd", *command], capture_output=True, text=True, timeout=600, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()  # of the first rank alone
    assert [line.partition(" ")[0] for line in lines if line.startswith(("training all ", "made: "))] == [
        "training",
        "made:",
    ]
    run = own / "runs" / "sft-smol"
    assert sorted(path.name for path in run.glob("recipe*")) == ["recipe.yaml"]
    assert read_yaml(run / "recipe.yaml")[0]["sft"]["layout"]["data"] == 2
    model = next((run / "artifacts").glob("sft-*"))
    assert json.loads((model / "artifact.json").read_text())["settings"]["settings"]["layout"]["data"] == 2
    assert not (run / "joined").exists()
