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
trap 'for told in "${pids[@]}"; do kill -TERM -- "-$told"; done' TERM
for n in 0 1; do
    SLURM_PROCID=$n SLURM_NTASKS=2 SLURM_LOCALID=$n setsid "$@" & pids+=($!)
done
code=0
for pid in "${pids[@]}"; do
    wait "$pid"; own=$?
    # A wait that a signal ended is no end of the task.
    while kill -0 "$pid" 2>/dev/null; do wait "$pid"; own=$?; done
    [ "$own" = 0 ] || code=$own
done
exit "$code"
"""
# Knows the names of two nodes, and writes down what else it is asked.
SCONTROL = """#!/bin/sh
if [ "$1 $2" = "show hostnames" ]; then
    [ "$3" = "node[07-08]" ] && printf 'node07\\nnode08\\n'
    exit
fi
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
    command = [sys.executable, "-m", "herd", "run", str(RECIPE), "--out", str(tmp_path / "my run"), *sets]
    return start_script(tmp_path, [*command, "--executor", "slurm"])


def start_script(tmp_path: Path, command: list[str], **env_of_slurm: str) -> subprocess.Popen[str]:
    """The script of a job that runs `command`, with what Slurm says to it."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    script = tmp_path / "job.sbatch"
    script.write_text(
        sbatch_script(
            command, job_name="ranked", nodes=1, gpus_per_node=0, cpus_per_task=3, hours=1, folder=tmp_path / "my run"
        )
    )
    env = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "SCONTROL_LOG": str(tmp_path / "scontrol.log")}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "SRUN_CPUS_PER_TASK"):
        env.pop(name, None)
    return subprocess.Popen(
        ["bash", str(script)], env=env | {"SLURM_JOB_ID": "7"} | env_of_slurm, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
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


def test_ranks_are_told_where_they_meet_and_srun_how_many_cores_each_has(tmp_path: Path) -> None:
    show = ["sh", "-c", 'echo "$SLURM_PROCID $MASTER_ADDR $SRUN_CPUS_PER_TASK $OMP_NUM_THREADS"']
    slurm = {"SLURM_JOB_NODELIST": "node[07-08]", "SLURM_CPUS_PER_TASK": "5"}
    said, _ = start_script(tmp_path, show, **slurm).communicate(timeout=60)
    assert sorted(said.splitlines()) == ["0 node07 5 5", "1 node07 5 5"]
    said, _ = start_script(tmp_path, show).communicate(timeout=60)
    assert sorted(said.splitlines()) == ["0  3 3", "1  3 3"]  # ranks that know no better take the node's own name


# Works until it is told to end; its first rank makes the file that it is given, if any.
WORK = """
trap 'if [ "$SLURM_PROCID" = 0 ] && [ -n "$1" ]; then mkdir -p "$(dirname "$1")"; echo saved > "$1"; fi; exit 143' TERM
touch "ready-$SLURM_PROCID"
while :; do sleep 0.02; done
"""


def told_to_end(tmp_path: Path, restarts: int, file: str) -> tuple[str, int]:
    """A start of the job that saves `file` at its end; what it says, and how often jobs were queued again so far."""
    ready = [tmp_path / f"ready-{rank}" for rank in range(2)]
    for flag in ready:
        flag.unlink(missing_ok=True)
    command = ["bash", "-c", f"cd {tmp_path}; {WORK}", "work", str(tmp_path / "my run" / file) if file else ""]
    process = start_script(tmp_path, command, SLURM_RESTART_COUNT=str(restarts))
    deadline = time.monotonic() + 60
    while not all(flag.exists() for flag in ready):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    log = tmp_path / "scontrol.log"
    return said, len(log.read_text().splitlines()) if log.exists() else 0


def test_a_job_that_saves_nothing_twice_in_a_row_is_not_queued_again(tmp_path: Path) -> None:
    (tmp_path / "my run").mkdir()
    requeues = []
    # Not every file is progress: what ranks say, and steps that no checkpoint holds, are written anew by each start.
    saved = (
        "", "scratch/sft-1/step-000000001/state.json", "scratch/sft-1/ranks/beat-1", "scratch/sft-1/step-2/state.json",
        "scratch/sft-1/metrics.jsonl", "scratch/pack-1/parts/000001/tokens",
    )  # fmt: skip
    said = ""
    for restarts, file in enumerate(saved):
        said, count = told_to_end(tmp_path, restarts, file)
        requeues.append(count)
    assert requeues == [1, 2, 3, 4, 5, 5]
    assert "nothing was saved in 2 starts of this job, so it is not queued again" in said
    # Submitted anew, it has its two starts again.
    assert told_to_end(tmp_path, 0, "")[1] == 6
    said, count = told_to_end(tmp_path, 1, "")
    assert count == 6
    assert "more --hours" in said


def test_a_note_is_one_line_of_comment(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"folder": tmp_path} | NUMBERS
    text = sbatch_script(["true"], job_name="x", note="24 h,\nas nobody knows", **asked)
    assert "\n# 24 h, as nobody knows\nset -u\n" in text
