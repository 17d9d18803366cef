"""Ranks are started, watched, started again, and told who they are, whoever starts them."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from herd.core.executor import RestartPolicy
from herd.run.ranks import STARTUP_SECONDS, HeartbeatState, Rank, StallDetector

RECIPE = Path(__file__).with_name("ranked.py")
HERD = [sys.executable, "-m", "herd", "run", str(RECIPE)]


def run(out: Path, *words: str, start: tuple[str, ...] = (), seconds: float = 120):
    command = [*(start or HERD[:1]), *HERD[1:], "--out", str(out), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def made(out: Path) -> dict[str, object]:
    return json.loads(next((out / "artifacts").glob("add_up-*/scores.json")).read_text())


def test_ranks_work_together(tmp_path: Path) -> None:
    done = run(tmp_path, "--set", "ranks=3")
    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == {"total": 18, "ranks": ["0", "1", "2"]}
    assert not (tmp_path / "scratch").glob("add_up-*/ranks") or not list((tmp_path / "scratch").iterdir())


@pytest.mark.row(38, "faults")
@pytest.mark.parametrize("fault", ["die", "freeze", "hang"])
def test_one_that_dies_freezes_or_hangs_is_noticed_and_all_start_again(fault: str, tmp_path: Path, figure) -> None:
    done = run(tmp_path, "--heartbeat-timeout", "3", "--set", f"fault={fault}", "--set", f"once={tmp_path / 'once'}")
    assert done.returncode == 0, done.stderr
    assert made(tmp_path)["total"] == 6
    log = next((tmp_path / "logs").glob("add_up-*.log")).read_text()
    # One may show as its peer's broken connection; one that hangs is named, because the other waits for it.
    assert "starting all ranks again: rank" + (" 1 hangs" if fault == "hang" else "") in log
    figure(f"a rank that {fault}s: noticed, all started again")


def beats(*said: tuple[int, int, bool]) -> dict[int, HeartbeatState]:
    return {number: HeartbeatState(*one) for number, one in enumerate(said)}


def test_progress_is_watched_and_not_life() -> None:
    motion = StallDetector(RestartPolicy(timeout_seconds=3.0))
    assert not motion.stall_reason(beats((1, 5, False), (1, 5, False)), 0.0)
    # One computes and its peer waits, for as long as it may take.
    for second in range(1, 50):
        assert not motion.stall_reason(beats((1, 5, True), (1, 5 + second, False)), float(second))
    assert not motion.stall_reason(beats((1, 5, True), (1, 54, False)), 55.0)
    assert (
        motion.stall_reason(beats((1, 5, True), (1, 54, False)), 55.5) == "rank 1 hangs: no rank did anything for 6 s"
    )


def test_ranks_that_compute_and_get_nowhere_are_noticed_too() -> None:
    motion = StallDetector(RestartPolicy(timeout_seconds=3.0))
    for second in range(61):
        assert not motion.stall_reason(beats((7, 5, True), (7, second, False)), float(second))
    assert motion.stall_reason(beats((7, 5, True), (7, 61, False)), 61.0) == "rank 1 hangs: no rank got on for 60 s"
    assert motion.stall_reason(beats((7, 5, True), (7, 62, True)), 62.0).startswith("ranks wait for each other")
    assert not motion.stall_reason(beats((8, 5, True), (7, 62, True)), 63.0)


def test_ranks_that_are_being_made_ready_have_their_time() -> None:
    motion = StallDetector(RestartPolicy(timeout_seconds=3.0))
    for second in range(int(STARTUP_SECONDS)):
        assert not motion.stall_reason(beats((0, 1, False), (0, 1, False)), float(second))
    # One that has ended is no longer counted, and the clock begins anew.
    assert not motion.stall_reason({0: HeartbeatState()}, 1e6)


def test_a_rank_that_says_why_is_not_started_again(tmp_path: Path) -> None:
    done = run(tmp_path, "--set", "fault=refuse")
    assert done.returncode == 1
    assert "the second rank has nothing to add; give it some" in done.stderr
    assert "starting all ranks again" not in next((tmp_path / "logs").glob("add_up-*.log")).read_text()


def test_asked_to_end_the_run_passes_it_on(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*HERD, "--out", str(tmp_path), "--set", "fault=wait"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("scratch/*/ranks/progress.json")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"asked to end" in said


def test_torchrun_starts_them_as_well(tmp_path: Path) -> None:
    start = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29511")
    done = run(tmp_path, "--executor", "torchrun", start=start)
    assert done.returncode == 0, done.stderr
    assert made(tmp_path)["total"] == 6


FAKE_SRUN = """#!/bin/sh
# Stands in for Slurm's srun: the same command for every task, each told who it is.
for n in 0 1; do SLURM_PROCID=$n SLURM_NTASKS=2 SLURM_LOCALID=$n SLURM_JOB_ID=7 "$@" & pids="$pids $!"; done
for pid in $pids; do wait $pid || exit 1; done
"""


def test_slurm_starts_them_as_well(tmp_path: Path) -> None:
    srun = tmp_path / "srun"
    srun.write_text(FAKE_SRUN)
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    done = run(tmp_path / "run", "--executor", "slurm", start=(str(srun), sys.executable))
    assert done.returncode == 0, done.stderr
    assert made(tmp_path / "run")["total"] == 6


def test_a_stage_may_want_fewer_ranks_than_were_started(tmp_path: Path) -> None:
    start = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "3", "--master-port", "29513")
    done = run(tmp_path, "--executor", "torchrun", start=start)
    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == {"total": 6, "ranks": ["0", "1"]}


def test_a_stage_that_wants_more_ranks_than_were_started_is_refused(tmp_path: Path) -> None:
    srun = tmp_path / "srun"
    srun.write_text(FAKE_SRUN)
    srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
    done = run(tmp_path / "run", "--executor", "slurm", "--set", "ranks=3", start=(str(srun), sys.executable))
    assert done.returncode == 1
    assert "the layout wants 3 ranks and 2 were started" in done.stderr


def test_ray_starts_them_as_well(tmp_path: Path) -> None:
    pytest.importorskip("ray.train.torch", reason="ray[train] is not installed", exc_type=ImportError)
    done = run(tmp_path, "--executor", "ray", "--jobs", "1", seconds=400)
    assert done.returncode == 0, done.stderr
    assert made(tmp_path)["total"] == 6


def test_a_process_knows_which_rank_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert Rank.from_env() == Rank(0, 1, 0)
    for name, value in {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}.items():
        monkeypatch.setenv(name, value)
    assert Rank.from_env() == Rank(3, 8, 1)
    for name, value in {"RANK": "2", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    assert Rank.from_env() == Rank(2, 4, 0)
