"""A worker makes what a job says, whole or not at all, and what it cannot make comes back as a sentence."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from herd.core.artifacts import Artifact, is_complete
from herd.core.errors import CorruptArtifactError, DataError, HerdError
from herd.core.executor import ProgressReporter, RestartPolicy
from herd.core.stage import RunOptions, plan_of
from herd.run import worker
from herd.run.executors import LocalExecutor
from herd.run.runner import _job
from herd.run.worker import Channel, RunFolder, StageJob, make, read_job
from tests.core.stages_for_tests import count_ranks, fail, join, on_device, write


def nothing(done: float, total: float, words: str) -> None: ...


@pytest.fixture
def home(tmp_path: Path) -> RunFolder:
    found = RunFolder(tmp_path)
    for folder in (found.artifacts, found.logs):
        folder.mkdir()
    return found


def job_of(target: Artifact, gpus: Sequence[int] = ()) -> StageJob:
    return _job(plan_of(target), tuple(gpus))


def test_what_a_job_makes_is_whole_and_tells_what_made_it(home: RunFolder) -> None:
    a = write(text="a")
    home.plan.write_text(json.dumps({a.key: {"seconds": 3.0}}))
    for target in (a, join((a,), times=2)):
        card = make(job_of(target), home, nothing, LocalExecutor(), RunOptions(device="cpu", dtype="bf16"))
        assert is_complete(home.artifact(target.key))
        assert card["key"] == target.key
        assert (card["cost"]["device"], card["cost"]["dtype"]) == ("cpu", "bf16")
        assert card["cost"]["estimate"] == ({"seconds": 3.0} if target is a else {})
        assert card["cost"]["seconds"] >= 0
    assert (card["type"], card["stage"], card["module"]) == ("Tokens", "join", "tests.core.stages_for_tests")
    assert (card["inputs"], card["settings"]) == ({"parts": [a.key], "extra": None}, {"times": 2})
    assert not list(home.scratch.iterdir())  # nothing is left that is needed no more


def test_a_damaged_input_is_told_and_nothing_is_made(home: RunFolder) -> None:
    a = write(text="abc")
    make(job_of(a), home, nothing, LocalExecutor())
    (home.artifact(a.key) / "text").write_text("abd")
    target = join((a,))
    with pytest.raises(CorruptArtifactError, match="text is damaged") as told:
        make(job_of(target), home, nothing, LocalExecutor())
    assert told.value.folder == home.artifact(a.key)
    assert not home.artifact(target.key).exists()


def test_scratch_outlives_a_fault_and_the_stage_is_named(home: RunFolder) -> None:
    target = fail(how="bug")
    with pytest.raises(HerdError, match="stage fail: KeyError: 'oops'"):
        make(job_of(target), home, nothing, LocalExecutor())
    assert (home.scratch / target.key).is_dir()
    assert not list(home.artifacts.iterdir())


class Launched(LocalExecutor):
    """An executor that remembers what it was to start, and makes it as one rank would."""

    def launch(self, job: Path, ranks: int, report: ProgressReporter, restart_policy: RestartPolicy) -> None:
        self.said = (read_job(job), ranks, restart_policy)
        work, root, options = self.said[0]
        worker.make_here(work, RunFolder(root), report, options=options)


def test_a_stage_of_several_ranks_is_launched_with_all_that_they_need(home: RunFolder, tmp_path: Path) -> None:
    executor = Launched()
    (tmp_path / "logs" / "a 1").touch()  # the mark of the other rank, which this one waits for
    options = RunOptions(heartbeat_timeout_seconds=7.0, max_restarts=1, profile=(2, 3), trackers=("tensorboard",))
    job = job_of(on_device(name="a", beside=(), marks=str(tmp_path / "logs"), ranks=2), gpus=(1, 3))
    card = make(job, home, nothing, executor, options)
    (read, root, how), ranks, policy = executor.said
    assert (read.key, read.stage(), list(read.gpus), root) == (job.key, job.stage(), [1, 3], home.root)
    assert (how, ranks, policy) == (options, 2, RestartPolicy(7.0, 1))
    assert card["key"] == job.key


def test_a_stage_that_divides_its_rows_has_the_ranks_of_the_run_and_others_have_not(home: RunFolder) -> None:
    for target, inference_ranks, launched in (
        (count_ranks(), 1, None),
        (count_ranks(), 3, 3),
        (write(text="a"), 3, None),
    ):
        executor = Launched()
        made = make(job_of(target), home, nothing, executor, RunOptions(inference_ranks=inference_ranks))
        assert made["key"] == target.key  # which does not depend on ranks
        assert (executor.said[1] if hasattr(executor, "said") else None) == launched


@pytest.mark.parametrize(
    ("gpus", "device", "wanted"),
    [
        ((2,), "auto", "cuda:2"),
        ((2,), "cuda", "cuda:2"),
        ((2,), "cpu", "cpu"),
        ((), "auto", "auto"),
        ((0, 1), "auto", "auto"),
    ],
)
def test_one_gpu_of_its_own_is_the_stages_device(gpus: tuple[int, ...], device: str, wanted: str) -> None:
    assert job_of(write(text="a"), gpus).on_gpu(RunOptions(device=device)).device == wanted


def test_progress_is_passed_on_ten_times_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1.0, 1.05, 1.0999, 1.11, 1.2, 1.3])
    monkeypatch.setattr(worker.time, "monotonic", lambda: next(moments))
    said: list[float] = []
    report = worker._throttle(lambda done, total, words: said.append(done))
    for number in range(6):
        report(number, 6, "")
    assert said == [0, 3, 5]


def test_allowances_among_jobs_count_as_soon_as_they_are_asked_for() -> None:
    ours, theirs = multiprocessing.Pipe()
    channel = Channel(theirs)
    job = job_of(write(text="a"))
    for message in (3, job, 2, 4):
        ours.send(message)
    assert channel.job() == job
    assert channel.worker_limit == 3
    assert channel.workers() == 4
    assert channel.workers() == 4
    channel.report(1, 2, "words")
    channel.warn("take care")
    assert [ours.recv(), ours.recv()] == [("progress", (1, 2, "words")), ("warning", "take care")]


class TwoPartsError(HerdError):
    """One that pickle takes and does not give back."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{what} at {where}")


def test_every_fault_gets_through_the_pipe_with_where_it_came_from(home: RunFolder) -> None:
    ours, theirs = multiprocessing.Pipe()
    how, fault = worker._attempt(job_of(fail(how="data")), home, Channel(theirs), "local", RunOptions())
    assert how == "failed"
    assert isinstance(fault, DataError)
    assert "in fail" in fault.__notes__[0]
    assert home.log(job_of(fail(how="data")).key).exists()
    ours.close()
    odd = TwoPartsError("a fault", "a place")
    odd.__notes__ = ["Traceback"]
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(odd))
    plain: Any = pickle.loads(pickle.dumps(worker._picklable(odd)))
    assert (str(plain), plain.__notes__) == ("a fault at a place", ["Traceback"])


def test_what_is_printed_goes_to_the_log_letter_for_letter_and_the_terminal_back(
    home: RunFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    log = home.log("a-1")
    with worker._output_to(log):
        os.write(1, b"by the system\n")
        print("by Python \x1b[2J", file=sys.__stdout__, flush=True)
    os.write(1, b"afterwards\n")
    assert "by the system" in log.read_text()
    out, _ = capfd.readouterr()
    assert out == "afterwards\n"


def test_where_things_lie_in_a_run(tmp_path: Path) -> None:
    home = RunFolder(tmp_path)
    assert home.artifact("a-1") == tmp_path / "artifacts" / "a-1"
    assert home.log("a-1") == tmp_path / "logs" / "a-1.log"
    assert home.estimate("a-1") == {}
    places = {home.artifacts, home.scratch, home.logs, home.lock, home.worker_lock, home.plan}
    assert len(places) == 6
    assert {place.parent for place in places} == {tmp_path}
