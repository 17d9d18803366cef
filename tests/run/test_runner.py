"""The runner: what is skipped, what is made, who waits for whom, and what a crash leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from herd.core.artifacts import Corpus, is_complete
from herd.core.errors import ArtifactError, BusyError, DataError, HerdError, SettingsError
from herd.core.manifests import append_checksum
from herd.core.stage import RunOptions, missing_packages
from herd.run.progress import SilentDisplay
from herd.run.runner import required_plans, run_stages
from tests.core.stages_for_tests import (
    count_slowly,
    fail,
    join,
    on_device,
    spread,
    uses_package,
    whose,
    whose_own,
    write,
)
from tests.smoke import hear_interrupts

REPOSITORY = Path(__file__).parent.parent.parent


class Told(SilentDisplay):
    """Remembers what was made and warned of."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.warnings: list[str] = []
        self.skipped = 0

    def begin(self, total: int, num_complete: int) -> None:
        self.skipped = num_complete

    def finish(self, key: str, metadata: dict) -> None:
        self.made.append(metadata["stage"])

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_stages_are_made_once_and_in_order(jobs: int, tmp_path: Path) -> None:
    a, b = write(text="a"), write(text="b")
    target = join((a, b, a), times=2)
    first = Told()
    made = run_stages(target, tmp_path, jobs=jobs, display=first)
    assert (made.path / "text").read_text() == "abaaba"
    assert sorted(first.made) == ["join", "write", "write"]
    assert made.key == target.key
    again = Told()
    run_stages(target, tmp_path, jobs=jobs, display=again)
    assert again.made == []
    assert again.skipped == 3


def test_packages_that_a_stage_wants_are_looked_for_before_anything_is_made(tmp_path: Path) -> None:
    target = join(
        (write(text="a"), uses_package(name="no_such_package"), uses_package(name="no_such_package")), times=1
    )
    with pytest.raises(SettingsError, match="^a test needs the package no_such_package: `pip install [^;]*$"):
        run_stages(target, tmp_path, jobs=0)
    assert not list(tmp_path.glob("artifacts/*"))
    assert missing_packages(required_plans(join((uses_package(name="json"),), times=1))) == ()


def devices(marks: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in marks.iterdir()}


@pytest.mark.parametrize(
    ("gpus", "device", "wanted"),
    [
        (2, "auto", ["cuda:0", "cuda:1"]),
        (1, "auto", ["cuda:0", "cuda:0"]),
        (0, "auto", ["auto", "auto"]),
        (2, "cpu", ["cpu", "cpu"]),
    ],
)
def test_stages_side_by_side_share_out_the_gpus(gpus: int, device: str, wanted: list[str], tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    both = [on_device(name=name, beside=("a", "b"), marks=str(marks)) for name in ("a", "b")]
    run_stages(join(tuple(both)), tmp_path / "run", jobs=2, gpus=gpus, options=RunOptions(device=device))
    assert sorted(devices(marks).values()) == wanted


def test_ranks_get_gpus_that_nobody_else_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")  # as a cluster shows some of a machine's
    marks = tmp_path / "marks"
    marks.mkdir()
    one = on_device(name="one", beside=("one", "two"), marks=str(marks))
    two = on_device(name="two", beside=("one", "two"), marks=str(marks), ranks=2)
    run_stages(join((one, two)), tmp_path / "run", jobs=2)
    found = devices(marks)
    assert found["two 0"] == found["two 1"]
    alone = ["4", "5", "6"][int(found["one 0"].removeprefix("cuda:"))]
    assert {*found["two 0"].split(","), alone} == {"4", "5", "6"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_stage_that_wants_a_fresh_process_has_one(jobs: int, tmp_path: Path) -> None:
    first = whose()
    second = whose(first, number=1)
    own = whose_own(second)
    other = whose_own(own)
    run_stages(whose(other, number=2), tmp_path, jobs=jobs, display=SilentDisplay())
    numbers = [(tmp_path / "artifacts" / one.key / "text").read_text() for one in (first, second, own, other)]
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3


def test_a_key_holds_all_that_decides_the_result(tmp_path: Path) -> None:
    assert write(text="a").key == write(text="a", where="elsewhere").key  # a place does not count
    assert write(text="a").key != write(text="b").key
    assert join((write(text="a"),)).key != join((write(text="b"),)).key
    assert join((write(text="a"),)).key == join((write(text="a"),), times=1).key
    assert join((write(text="a"),)).key != join((write(text="a"),), write(text="c")).key


def test_a_changed_place_is_made_again_under_the_same_key(tmp_path: Path) -> None:
    run_stages(write(text="a"), tmp_path)
    log = tmp_path / "log"
    run_stages(write(text="a", where=str(log)), tmp_path)
    assert log.read_text() == "a\n"


def test_until_makes_only_what_a_stage_needs(tmp_path: Path) -> None:
    target = join((write(text="a"),))
    made = run_stages(target, tmp_path, until="write")
    assert isinstance(made, Corpus)
    assert not is_complete(tmp_path / "artifacts" / target.key)
    with pytest.raises(SettingsError, match="did you mean 'write'"):
        required_plans(target, "wriet")


@pytest.mark.parametrize("jobs", [0, 2])
@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("data", DataError, "the page has no text; add some"),
        ("bug", HerdError, "stage fail: KeyError: 'oops'"),
        ("disk", HerdError, "no space left on the disk while writing"),
    ],
)
def test_a_failed_stage_leaves_no_artifact_and_one_sentence(
    how: str, kind: type, words: str, jobs: int, tmp_path: Path
) -> None:
    good = write(text="a")
    target = join((good, fail(how=how)))
    with pytest.raises(kind, match=words):
        run_stages(target, tmp_path, jobs=jobs)
    assert [path.name for path in (tmp_path / "artifacts").glob("fail-*") if is_complete(path)] == []
    assert is_complete(tmp_path / "artifacts" / good.key) or jobs == 2  # side by side, the other may be cut off


def test_a_worker_that_dies_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="stage fail: its process ended with exit code 7"):
        run_stages(fail(how="exit"), tmp_path, jobs=1)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    import fcntl

    (tmp_path / ".lock").touch()
    with (tmp_path / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another herd run is at work") as fault:
            run_stages(write(text="a"), tmp_path)
    assert fault.value.exit_code == 2


def test_half_made_folders_of_a_killed_run_are_tidied(tmp_path: Path) -> None:
    half = tmp_path / "artifacts" / "write-123.partial"
    half.mkdir(parents=True)
    run_stages(write(text="a"), tmp_path)
    assert not half.exists()


def test_a_damaged_artifact_is_made_again(tmp_path: Path) -> None:
    made = run_stages(write(text="abc"), tmp_path)
    (made.path / "text").write_text("ab")
    told = Told()
    run_stages(write(text="abc"), tmp_path, display=told)
    assert told.made == ["write"]
    assert (made.path / "text").read_text() == "abc"


@pytest.mark.parametrize("jobs", [0, 2])
def test_what_was_deleted_is_made_again_before_all_that_was_made_of_it(jobs: int, tmp_path: Path) -> None:
    """A stage may read its whole lineage, so that it waits for ancestors though its own inputs are there."""
    oldest = count_slowly(steps=20)
    last = whose(before=whose(before=oldest), number=1)
    run_stages(last, tmp_path)
    for key in (oldest.key, last.key):
        shutil.rmtree(tmp_path / "artifacts" / key)
    told = Told()
    run_stages(last, tmp_path, jobs=jobs, display=told)
    assert told.made == ["count_slowly", "whose"]


def test_changed_code_without_a_new_version_is_warned_of(tmp_path: Path) -> None:
    made = run_stages(write(text="a"), tmp_path)
    card = made.path / "artifact.json"
    card.write_text(append_checksum(card.read_text().replace(made.metadata["code"], "0" * 12)))
    told = Told()
    run_stages(write(text="a"), tmp_path, display=told)
    assert told.made == []
    assert "the code of stage write changed" in told.warnings[0]


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_results_do_not_depend_on_the_number_of_workers(jobs: int, tmp_path: Path) -> None:
    made = run_stages(spread(numbers=(1, 2, 3, 4)), tmp_path, jobs=jobs)
    assert (made.path / "text").read_text() == "2,4,6,8"


def start(folder: Path, mark: Path) -> subprocess.Popen[bytes]:
    code = (
        "from herd.run.runner import run_stages; from pathlib import Path\n"
        "from tests.core.stages_for_tests import count_slowly\n"
        f"run_stages(count_slowly(steps=100, mark={str(mark)!r}), Path({str(folder)!r}), jobs=1)"
    )
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, preexec_fn=hear_interrupts)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_stage_goes_on_from_its_scratch_after_a_kill(how: signal.Signals, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = start(tmp_path / "run", mark)
    while not mark.exists() or len(mark.read_text().splitlines()) < 5:
        time.sleep(0.02)
    os.kill(process.pid, how)
    process.wait()
    made = run_stages(count_slowly(steps=100, mark=str(mark)), tmp_path / "run", jobs=1)
    assert (made.path / "text").read_text() == "100"
    counted = [int(line) for line in mark.read_text().splitlines()]
    assert sorted(set(counted)) == list(range(100))
    assert len(counted) <= 102  # the step that was under way may come twice; no worker outlived its run
