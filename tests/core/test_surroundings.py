"""Machines that lack something, and processes that die: each is told as what it is."""

from __future__ import annotations

import ast
import errno
import os
import sys
from pathlib import Path

import pytest

import herd
from herd.cli import main
from herd.core.errors import DataError, HerdError, SettingsError, is_full_disk
from herd.core.executor import RestartPolicy
from herd.run.executors import LocalExecutor
from herd.run.ranks import DISK_FULL, RankSupervisor
from herd.run.runner import run_stages
from herd.world import python_docs
from tests.core.stages_for_tests import fail, spread, write
from tests.run.test_executors import double


def calls_of(function: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(function) if isinstance(node, ast.Call)]


def test_nothing_goes_on_without_asking_how_a_process_ended() -> None:
    for file in sorted(Path(herd.__file__).parent.rglob("*.py")):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            starts = [one for one in calls_of(function) if ast.unparse(one.func) == "subprocess.run"]
            checked = all(
                any(k.arg == "check" and ast.unparse(k.value) == "True" for k in one.keywords) for one in starts
            )
            assert not starts or checked or "returncode" in ast.unparse(function), f"{file}: {function.name}"


ONE_PAGE = "import json, os, sys; print(json.dumps(['abc', '<p>abc</p>']), flush=True); "


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ("os.kill(os.getpid(), 9)", "exit code -9"),
        ("sys.exit(3)", "exit code 3"),
        ("os._exit(0)", "no word that these are all"),
        ("print(json.dumps(['', 2]))", "no word that these are all"),
    ],
)
def test_a_renderer_that_does_not_end_well_makes_no_pages(
    ends: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_docs, "_RENDER", ONE_PAGE + ends)
    with pytest.raises(DataError, match=words):
        python_docs._render()


def test_a_renderer_that_is_killed_once_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = f"mark = {str(tmp_path / 'mark')!r}; first = not os.path.exists(mark); open(mark, 'w').close(); "
    ends = "os.kill(os.getpid(), 9) if first else print(json.dumps(['', 1]))"
    monkeypatch.setattr(python_docs, "_RENDER", ONE_PAGE + first + ends)
    assert python_docs._render() == [("abc", "<p>abc</p>")]


def test_a_log_that_cannot_be_written_does_not_hide_a_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    target = fail(how="disk")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{target.key}.log").symlink_to("/dev/full")
    with pytest.raises(HerdError, match="stage fail: no space left on the disk"):
        run_stages(target, tmp_path, jobs=1)


def test_a_log_that_cannot_be_made_does_not_end_a_stage(tmp_path: Path) -> None:
    target = write(text="a")
    (tmp_path / "logs" / f"{target.key}.log").mkdir(parents=True)
    assert (run_stages(target, tmp_path, jobs=1).path / "text").read_text() == "a"


def test_ranks_without_room_are_not_started_again(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    program = f"open({str(starts)!r}, 'a').write('x'); raise SystemExit({DISK_FULL})"
    crew = RankSupervisor([sys.executable, "-S", "-c", program], 1, tmp_path / "ranks", RestartPolicy(max_restarts=3))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as fault:
        crew.run(lambda *_: None)
    assert is_full_disk(fault.value)
    assert starts.read_text() == "x"


def test_a_worker_that_dies_beside_a_full_disk_died_of_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**20, 2**20, 0))
    with pytest.raises(HerdError, match="stage fail: no space left on the disk"):
        run_stages(fail(how="exit"), tmp_path, jobs=1)


@pytest.fixture
def no_dev_shm(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("multiprocessing.synchronize.SemLock.__init__", refused)


@pytest.mark.usefixtures("no_dev_shm")
def test_without_semaphores_one_process_does_the_work_and_says_so() -> None:
    told: list[str] = []
    place = LocalExecutor(lambda: 3, told.append)
    assert [list(place.map(double, range(5))) for _ in range(2)] == [[0, 2, 4, 6, 8]] * 2
    assert len(told) == 1
    assert "/dev/shm" in told[0]
    assert "Read-only file system" in told[0]


@pytest.mark.usefixtures("no_dev_shm")
def test_a_rehearsal_without_semaphores_names_what_is_missing(tmp_path: Path) -> None:
    from herd.pretrain.profiling import profile_stages

    with pytest.raises(HerdError, match="/dev/shm, which cannot be used"):
        profile_stages([], tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "tiny", "--jobs", "-1"),
        ("study", "tiny", "--jobs", "-7"),
        ("run", "tiny", "--jobs", "two"),
        ("plan", "tiny", "--jobs", "0"),
        ("run", "tiny", "--max-restarts", "-1"),
        ("run", "tiny", "--save-every", "nan"),
        ("run", "tiny", "--heartbeat-timeout", "inf"),
        ("curate", "x", "--out", "y", "--workers", "-1"),
        ("judge-data", "x", "y", "--seeds", "0"),
        ("chat", "x", "--temperature", "-0.5"),
        ("compare", "x", "y", "--port", "70000"),
        ("export", "x", "y", "--shard-gb", "0"),
    ],
)
def test_counts_that_cannot_be_are_wrong_use(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert f"argument {arguments[-2]}: " in capsys.readouterr().err


def test_a_run_with_less_than_no_jobs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--jobs -1"):
        run_stages(spread(numbers=(1,)), tmp_path, jobs=-1)
