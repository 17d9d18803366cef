"""All ranks that torchrun or Slurm started work on what one stage maps over shards."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from herd import cli
from herd.core.errors import DataError, HerdError, SettingsError
from herd.run import launcher
from herd.run.launcher import FileWatch, LauncherExecutor
from tests.run.follower import Shard, breaks, breaks_off, dies, double, wait_for
from tests.run.test_ranks import FAKE_SRUN

PATIENT, IMPATIENT = 60.0, 3.0  # seconds

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts the second of two ranks, of which this process is the first."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    started: list[subprocess.Popen[str]] = []

    def start(silent_seconds: float = PATIENT, folder: Path = tmp_path) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.run.follower", str(folder), str(silent_seconds)]
        started.append(subprocess.Popen(command, env=os.environ | {"RANK": "1"}, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()
        if one.stderr is not None:
            one.stderr.close()
    launcher._open_rendezvous(tmp_path).heartbeat_stop.set()


def shards(folder: Path, count: int) -> list[Shard]:
    return [Shard(number, folder) for number in range(count)]


def ends(process: subprocess.Popen[str], folder: Path) -> tuple[int, str]:
    launcher._open_rendezvous(folder).end(PATIENT)
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def test_every_rank_takes_shards_and_results_come_in_their_order(second: Start, tmp_path: Path) -> None:
    process, place = second(), LauncherExecutor(tmp_path)
    ranks = set()
    for _ in range(2):  # one task after another
        found = list(place.map(double, shards(tmp_path, 9)))
        assert [value for value, _ in found] == list(range(0, 18, 2))
        ranks |= {rank for _, rank in found}
    assert ranks == {"0", "1"}
    assert ends(process, tmp_path) == (0, "")
    assert not (tmp_path / "joined").exists()


def test_one_shard_is_worth_no_meeting(second: Start, tmp_path: Path) -> None:
    (tmp_path / "at-work-1").touch()
    assert list(LauncherExecutor(tmp_path).map(double, shards(tmp_path, 1))) == [(0, "0")]


@pytest.mark.parametrize(
    ("kernel", "kind", "words"), [(breaks, DataError, "add some"), (breaks_off, HerdError, "oops")]
)
def test_what_a_kernel_raises_in_another_rank_comes_through(
    kernel: Callable[[Shard], int], kind: type[HerdError], words: str, second: Start, tmp_path: Path
) -> None:
    process = second()
    with pytest.raises(kind, match=words):
        list(LauncherExecutor(tmp_path).map(kernel, shards(tmp_path, 6)))
    assert ends(process, tmp_path)[0] == 0


def test_a_rank_that_dies_with_a_shard_is_named(second: Start, tmp_path: Path) -> None:
    second()
    place = LauncherExecutor(tmp_path, IMPATIENT)
    with pytest.raises(HerdError, match=r"rank 1 gave no sign of life for 3 s while it worked on shard \d"):
        list(place.map(dies, shards(tmp_path, 6)))


def test_ranks_end_when_the_first_is_gone(second: Start, tmp_path: Path) -> None:
    process = second(IMPATIENT)
    meeting = launcher._open_rendezvous(tmp_path)
    wait_for(meeting.heartbeat_file(1))
    meeting.heartbeat_stop.set()  # as if it were dead
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "the first rank gave no sign of life for 3 s" in said


def test_what_an_earlier_start_left_does_not_count(second: Start, tmp_path: Path) -> None:
    old = tmp_path / "joined" / f"{launcher._token()}-0"
    old.mkdir(parents=True)
    for name in ("beat-0", "end"):
        (old / name).write_text("7")
    process = second()
    found = list(LauncherExecutor(tmp_path).map(double, shards(tmp_path, 4)))
    assert [value for value, _ in found] == [0, 2, 4, 6]
    assert ends(process, tmp_path) == (0, "")


def test_a_file_that_changes_is_not_silent(tmp_path: Path) -> None:
    file = tmp_path / "beat"
    watch = FileWatch(file, -1.0)  # silent as soon as nothing is new
    assert watch.is_silent()
    always = FileWatch(file, 1e9)
    file.write_text("1")
    assert not always.is_silent()


def test_others_come_while_the_first_still_plans_and_leave_when_it_refuses(
    second: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    launcher._open_rendezvous.cache_clear()
    process = None
    with pytest.raises(DataError, match="no rows"), launcher.ranks_meet(tmp_path / "run") as leads:
        assert leads
        process = second(folder=tmp_path / "run")
        (meeting,) = (tmp_path / "run" / "joined").iterdir()
        wait_for(meeting / "beat-1")
        raise DataError("no rows")
    assert process is not None
    _, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, "")
    assert not (tmp_path / "run").exists()  # nothing was written


def test_who_started_the_processes_says_how_they_work_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert [launcher.launched_executor(name) for name in (None, "ray", "slurm")] == ["local", "ray", "slurm"]
    for name, value in {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}.items():
        monkeypatch.setenv(name, value)  # as in a batch script, which is one process
    assert launcher.launched_executor(None) == "local"
    for name, value in {"RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    assert launcher.launched_executor("local") == "local"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert [launcher.launched_executor(name) for name in (None, "torchrun", "slurm")] == ["torchrun"] * 2 + ["slurm"]
    with pytest.raises(SettingsError, match="torchrun started 2 processes, and with the executor ray"):
        launcher.launched_executor("ray")


# ---- curation ----

PAGES = 24


def pages(folder: Path) -> list[str]:
    """Files of pages, some of them copies; each is a shard."""
    folder.mkdir()
    words = "the old farmer went home with his horse and that of a friend who had bread for them in winter".split()
    for number in range(PAGES):
        chance = random.Random(number % 18)
        lines = [f"On day {chance.randrange(10**6)} {' '.join(chance.choices(words, k=14))}." for _ in range(8)]
        (folder / f"{number:02}.txt").write_text("\n".join(lines), encoding="utf-8")
    return [str(folder), "--rules", "c4", "--set", "shard_bytes=500"]


def results(out: Path) -> dict[str, bytes]:
    names = [file for name in ("documents", "rejects") for file in sorted((out / name).glob("*.parquet"))]
    return {str(file.relative_to(out)): file.read_bytes() for file in names}


@pytest.mark.parametrize("launcher", ["slurm", "torchrun"])
def test_curation_by_all_ranks_is_that_of_one_process(launcher: str, tmp_path: Path) -> None:
    words = pages(tmp_path / "pages")
    assert cli.main(["curate", *words, "--out", str(tmp_path / "alone"), "--workers", "1"]) == 0
    if launcher == "slurm":
        srun = tmp_path / "srun"
        srun.write_text(FAKE_SRUN)
        srun.chmod(srun.stat().st_mode | stat.S_IXUSR)
        start = [str(srun), sys.executable]
    else:
        start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    command = [*start, "-m", "herd", "curate", *words, "--out", str(tmp_path / "ranks"), "--executor", launcher]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    alone = results(tmp_path / "alone")
    assert len(alone) > 2
    assert results(tmp_path / "ranks") == alone
    assert done.stdout.count("documents:") == 1  # the first rank tells
