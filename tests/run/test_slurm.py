"""Scripts for `sbatch`: what they say, and that they run, save when they are told and queue again. Slurm is played by
two scripts."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from herd.core.errors import SettingsError
from herd.run.slurm import sbatch_script
from tests.run.test_ranks import RECIPE, made

# Two tasks, each told who it is; signals are passed on to them, as srun does. Not to the processes that they start:
# those of this stand-in are in the same group as the test.
SRUN = """#!/bin/bash
pids=()
for n in 0 1; do
    SLURM_PROCID=$n SLURM_NTASKS=2 SLURM_LOCALID=$n setsid "$@" & pids+=($!)
done
trap 'for pid in "${pids[@]}"; do kill -TERM -- "-$pid"; done' TERM
code=0
for pid in "${pids[@]}"; do
    wait "$pid"; own=$?
    # A wait that a signal ended is no end of the task.
    while kill -0 "$pid" 2>/dev/null; do wait "$pid"; own=$?; done
    [ "$own" = 0 ] || code=$own
done
exit "$code"
"""
SCONTROL = """#!/bin/sh
echo "$@" >> "$SCONTROL_LOG"
"""
NUMBERS: dict[str, Any] = {"nodes": 2, "gpus_per_node": 8, "cpus_per_task": 4, "hours": 12.5}


def test_what_a_script_asks_for(tmp_path: Path) -> None:
    out = tmp_path / "my run"
    text = sbatch_script(["herd", "run", "a b.yaml"], job_name="a b; c", folder=out, partition="gpu", **NUMBERS)
    for line in (
        "--job-name=a-b-c",
        "--nodes=2",
        "--ntasks-per-node=8",
        "--gpus-per-node=8",
        "--cpus-per-task=4",
        "--partition=gpu",
        "--time=12:30:00",
        f'--output="{out}"/slurm-%j.out',
        "--requeue",
        "--signal=B:TERM@300",
    ):
        assert f"#SBATCH {line}\n" in text
    assert "srun herd run 'a b.yaml' &" in text
    plain = sbatch_script(
        ["true"], job_name="x", nodes=1, gpus_per_node=0, cpus_per_task=64, hours=0.001, folder=tmp_path
    )
    assert "--ntasks-per-node=1\n" in plain
    assert "--time=0:06:00\n" in plain
    assert "gpus" not in plain
    assert "partition" not in plain


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"nodes": 0}, "nodes is 0"),
        ({"hours": 0.0}, "hours is 0"),
        ({"partition": "x\n#SBATCH --uid=0"}, "is no name of one"),
        ({"folder": Path("it's")}, "no quotes or backslashes"),
    ],
)
def test_numbers_and_names_that_no_job_has_are_refused(numbers: dict[str, Any], words: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"folder": tmp_path} | NUMBERS | numbers
    with pytest.raises(SettingsError, match=words):
        sbatch_script(["true"], job_name="x", **asked)


def start(tmp_path: Path, *sets: str) -> subprocess.Popen[str]:
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    command = [sys.executable, "-m", "herd", "run", str(RECIPE), "--out", str(tmp_path / "my run"), *sets]
    script = tmp_path / "job.sbatch"
    script.write_text(
        sbatch_script(
            [*command, "--executor", "slurm"], job_name="ranked", nodes=1, gpus_per_node=0,
            cpus_per_task=1, hours=1, folder=tmp_path / "my run",
        )
    )  # fmt: skip
    env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "SCONTROL_LOG": str(tmp_path / "scontrol.log")}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        env.pop(name, None)
    return subprocess.Popen(
        ["bash", str(script)], env=env | {"SLURM_JOB_ID": "7"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def test_the_script_runs_its_ranks(tmp_path: Path) -> None:
    process = start(tmp_path)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert made(tmp_path / "my run") == {"total": 6, "ranks": ["0", "1"]}
    assert not (tmp_path / "scontrol.log").exists()


def test_told_that_its_time_is_up_it_saves_and_is_queued_again(tmp_path: Path) -> None:
    process = start(tmp_path, "--set", "fault=save")
    deadline = time.monotonic() + 100
    while not list((tmp_path / "my run").glob("scratch/*/ranks/progress.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # to the batch shell alone, as B: says
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 143, said
    assert "asked to end" in said
    assert (tmp_path / "scontrol.log").read_text() == "requeue 7\n"
