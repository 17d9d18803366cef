"""A rank's exit code says whether all shall be started again, and what it gave up with is told."""

from __future__ import annotations

import errno
import json
import os
import pickle
import threading
from pathlib import Path

import pytest

from herd.core.artifacts import Artifact, Tokens, is_complete
from herd.core.errors import DataError, StoppedError
from herd.core.stage import DEFAULT_OPTIONS, Stage, Work, plan_of, stage
from herd.run.executors import LocalExecutor
from herd.run.rank import CRASH_EXIT_CODE, run_rank
from herd.run.ranks import DISK_FULL, Rank
from herd.run.runner import _job
from herd.run.worker import RunFolder
from tests.core.stages_for_tests import count_ranks, join, write


@pytest.fixture(autouse=True)
def room_for_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages of these tests are forgotten afterwards, and their code is no other test's."""
    monkeypatch.setattr(Stage, "registry", dict(Stage.registry))


def job_file(target: Artifact, root: Path) -> Path:
    """What the worker writes for ranks."""
    plan = plan_of(target)
    home = RunFolder(root)
    file = home.scratch / plan.key / "job.json"
    (file.parent / "ranks").mkdir(parents=True)
    home.artifacts.mkdir(exist_ok=True)
    row = {"job": _job(plan).__dict__, "root": str(root), "options": DEFAULT_OPTIONS.to_json()}
    file.write_text(json.dumps(row))
    return file


def ends(fault: BaseException) -> Artifact:
    @stage(paper="-", version=1)
    def end(work: Work, *, how: str) -> Tokens:
        raise fault

    return end(how=type(fault).__name__)


def told(file: Path) -> object:
    fault = file.parent / "ranks" / "fault"
    return pickle.loads(fault.read_bytes()) if fault.exists() else None


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (DataError("no text; add some"), 1, "no text; add some"),
        (StoppedError("asked to end"), 143, None),
        (RuntimeError("Connection closed by peer"), CRASH_EXIT_CODE, None),
        (OSError(errno.ENOSPC, "No space left on device"), DISK_FULL, "stage end: no space left on the disk"),
    ],
)
def test_exit_codes(fault: Exception, code: int, words: str | None, tmp_path: Path) -> None:
    target = ends(fault)
    file = job_file(target, tmp_path)
    assert run_rank(file, Rank(0, 2, 0)) == code
    assert not is_complete(tmp_path / "artifacts" / target.key)
    found = told(file)
    assert (found is None) == (words is None)
    assert str(found).startswith(words or "None")
    assert DISK_FULL == errno.ENOSPC
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_fault_that_cannot_be_told_is_still_an_exit_code(tmp_path: Path) -> None:
    file = job_file(ends(DataError("no text")), tmp_path)
    (file.parent / "ranks").rmdir()
    assert run_rank(file, Rank(1, 2, 1)) == 1
    assert told(file) is None


def test_the_first_rank_makes_the_artifact_and_the_others_output_is_thrown_away(tmp_path: Path) -> None:
    target = write(text="abc", where=str(tmp_path / "log"))
    file = job_file(target, tmp_path)
    (file.parent / "out-1").mkdir()
    (file.parent / "out-1" / "of_before").touch()
    final = tmp_path / "artifacts" / target.key
    assert run_rank(file, Rank(1, 2, 1)) == 0
    assert not final.exists()
    assert [one.name for one in (file.parent / "out-1").iterdir()] == ["text"]
    assert run_rank(file, Rank(0, 2, 0)) == 0
    assert is_complete(final)
    assert run_rank(file, Rank(1, 2, 1)) == 0  # started again though all was made
    assert (tmp_path / "log").read_text() == "abc\nabc\n"


def test_a_rank_reads_the_inputs_of_its_job_and_sees_the_gpus_that_are_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,7")
    parts = write(text="a"), write(text="b")
    for part in parts:
        assert run_rank(job_file(part, tmp_path), Rank(0, 1, 0)) == 0
    target = join(parts, times=2)
    file = job_file(target, tmp_path)
    row = json.loads(file.read_text())
    row["job"]["gpus"] = [0, 2]
    file.write_text(json.dumps(row))
    assert run_rank(file, Rank(0, 2, 0)) == 0
    assert (tmp_path / "artifacts" / target.key / "text").read_text() == "abab"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"
    assert LocalExecutor().workers == 1


def test_a_stage_is_told_how_many_ranks_run_it(tmp_path: Path) -> None:
    target = count_ranks()
    file = job_file(target, tmp_path)
    assert run_rank(file, Rank(1, 3, 1)) == run_rank(file, Rank(0, 3, 0)) == 0
    for written in (file.parent / "out-1", tmp_path / "artifacts" / target.key):
        assert (written / "text").read_text() == "3"
